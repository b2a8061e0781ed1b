"""``nodhcp``: another system gives the guest its address, through the bridge.

The case of Rancher, which allocates from its own database and serves DHCP on its own network, and
of a bridge to the host's network. So there is nothing to deliver and nothing to contain.
"""

from __future__ import annotations

from vmnet.delivery import Delivery
from vmnet.hookspecs import hookimpl
from vmnet.identity import Identity
from vmnet.settings import Settings
from vmnet.wiring import Wiring


@hookimpl
def vmnet_ipam_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Deliver nothing; the guest has the container's MAC, which the other system knows."""
    return Delivery("nodhcp")
