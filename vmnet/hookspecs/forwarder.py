"""Forwarder: answer the guest's DNS queries."""

from __future__ import annotations

from vmnet.delivery import Delivery
from vmnet.hookspecs.markers import hookspec
from vmnet.identity import Identity
from vmnet.settings import Settings
from vmnet.wiring import Wiring


@hookspec(firstresult=True)
def vmnet_forwarder(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Say which files and daemons forward DNS, at the wiring's nameserver and its stable one.

    Called on the one strategy that ``VMNET_FORWARDER`` names, if a selected IPAM strategy requires
    DNS and is not that strategy itself: one that serves the guest in ``vmnet_ipam_deliver`` already
    serves its names there too.

    :return: pure data, as in ``vmnet_ipam_deliver``
    :raises vmnet.errors.DeliveryError: a program it needs is missing
    """
