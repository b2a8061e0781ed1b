"""IPAM: decide which addresses the guest has, and hand them over."""

from __future__ import annotations

from vmnet.delivery import Delivery, Handover
from vmnet.hookspecs.markers import hookspec
from vmnet.identity import Identity
from vmnet.settings import Settings
from vmnet.wiring import Requirements, Wiring


@hookspec
def vmnet_ipam_allocate(settings: Settings, identity: Identity) -> Identity:
    """Have another system allocate what the guest is to have: addresses, routes, DNS, names.

    Called on each strategy that ``VMNET_IPAM`` names, in that order, at a start only: planning
    calls it never. Each gets what the one before it returned. Before the call a record that it is
    about to be made is on the disk, so :func:`vmnet_ipam_release` follows whatever happens.

    :return: the identity with what was allocated; its interfaces keep their names, MACs and order.
        None means unchanged
    :raises vmnet.errors.AllocationError: there is nothing to be had
    """


@hookspec
def vmnet_ipam_release(settings: Settings, identity: Identity) -> None:
    """Give back what :func:`vmnet_ipam_allocate` took, or may have taken, for an identity.

    Called when the VM has ended, when its start fails, and after a crash at the next start, once
    the container's network is as it was. It is called again until it succeeds, so to release what
    is not allocated is no error.

    :param identity: the one that ``vmnet_ipam_allocate`` was given
    :raises vmnet.errors.AllocationError: it may still be allocated
    """


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


@hookspec
def vmnet_ipam_status(
    settings: Settings, identity: Identity, wiring: Wiring
) -> tuple[Handover, ...]:
    """Tell which of the identity has reached the guest, while it runs.

    Called for `vmnet status` on each strategy that ``VMNET_IPAM`` names, in that order, with what
    the start had decided. Only look: no file may change, and nobody be asked who may not answer.

    :return: one for each interface that there is something to say of; None means nothing
    """
