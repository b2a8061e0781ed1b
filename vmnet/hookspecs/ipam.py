"""IPAM: hand the identity to the guest."""

from __future__ import annotations

from vmnet.delivery import Delivery
from vmnet.hookspecs.markers import hookspec
from vmnet.identity import Identity
from vmnet.settings import Settings
from vmnet.wiring import Requirements, Wiring


@hookspec
def vmnet_ipam_requirements(settings: Settings, identity: Identity) -> Requirements:
    """Say what this strategy needs of the bridge, before it is planned.

    Called on each strategy that ``VMNET_IPAM`` names, in that order; what they ask is added up.
    This is also the place to refuse an identity that the strategy can't serve at all.

    :return: the requirements; None means none
    :raises vmnet.errors.DeliveryError: the strategy can't serve this identity
    """


@hookspec
def vmnet_ipam_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Say which files and daemons hand the identity to the guest.

    Called on each strategy that ``VMNET_IPAM`` names, in that order, once the wiring is planned
    and before anything has changed. Nothing may be written or started here: the pipeline does
    that when the bridge stands, and undoes it when the start fails. `vmnet plan` shows the answer.

    :return: pure data; None means that nothing is needed
    :raises vmnet.errors.DeliveryError: a program it needs is missing
    """
