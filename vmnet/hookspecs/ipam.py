"""IPAM: allocate the guest's addresses and hand them over."""

from __future__ import annotations

from vmnet.hookspecs.markers import hookspec
from vmnet.model.delivery import Delivery, Handover
from vmnet.model.identity import Identity
from vmnet.model.wiring import Requirements, Wiring
from vmnet.settings.table import Settings


@hookspec
def vmnet_ipam_allocate(settings: Settings, identity: Identity) -> Identity:
    """Let another system allocate addresses, routes, DNS servers and names for the guest.

    Called for each strategy that ``VMNET_IPAM`` names, in that order, only at a start. Each gets
    the identity that the previous strategy returned. vmnet records the call on disk before it makes
    the call, so :func:`vmnet_ipam_release` follows in any case.

    :return: the identity with the allocations. Its interfaces keep their names, MACs and order.
        None means unchanged
    :raises vmnet.errors.AllocationError: the system allocates nothing
    """


@hookspec
def vmnet_ipam_release(settings: Settings, identity: Identity) -> None:
    """Release what :func:`vmnet_ipam_allocate` allocated, or may have allocated.

    Called when the VM has ended, when its start fails, and after a crash at the next start, when
    the container's network has been restored. vmnet repeats the call until it succeeds, so it must
    not be an error to release something that is not allocated.

    :param identity: the identity passed to ``vmnet_ipam_allocate``
    :raises vmnet.errors.AllocationError: the allocation may still exist
    """


@hookspec
def vmnet_ipam_requirements(settings: Settings, identity: Identity) -> Requirements:
    """Return what this strategy needs from the bridge.

    Called for each strategy that ``VMNET_IPAM`` names, in that order, before the bridge is planned.
    vmnet combines the results. A strategy that can't serve the identity should refuse it here.

    :return: the requirements; None means none
    :raises vmnet.errors.DeliveryError: the strategy can't serve this identity
    """


@hookspec
def vmnet_ipam_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Return the files and daemons that hand the identity to the guest.

    Called for each strategy that ``VMNET_IPAM`` names, in that order, after the wiring is planned
    and before anything changes. The hook must not write files or start processes: vmnet does this
    when the bridge is up, and undoes it if the start fails. `vmnet plan` shows the result.

    :return: data; a ``Delivery`` without files and daemons if there is nothing to deliver
    :raises vmnet.errors.DeliveryError: a required program is missing
    """


@hookspec
def vmnet_ipam_status(
    settings: Settings, identity: Identity, wiring: Wiring
) -> tuple[Handover, ...]:
    """Report which parts of the identity the running guest has taken.

    Called by `vmnet status` for each strategy that ``VMNET_IPAM`` names, in that order, with the
    identity and wiring of the start. The hook must not change files or query a system that may not
    answer.

    :return: a handover for each interface with something to report; None means nothing to report
    """
