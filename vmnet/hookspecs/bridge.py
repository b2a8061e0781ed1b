"""Bridge: wire the container's interfaces to the guest."""

from __future__ import annotations

from vmnet.hookspecs.markers import hookspec
from vmnet.model.delivery import Delivery
from vmnet.model.identity import Identity
from vmnet.model.wiring import Requirements, Wiring
from vmnet.settings.table import Settings


@hookspec(firstresult=True)
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """Choose names, MAC and IP addresses, without changing anything.

    Called for each strategy that ``VMNET_BRIDGE`` names, in that order, until one does not raise
    ``PrivilegeError``. It may read the network, and send ARP
    probes to check that an address is free (RFC 5227).

    :return: a port for each interface, with everything that :func:`vmnet_bridge_restore` needs
    :raises vmnet.errors.PrivilegeError: a privilege is missing; vmnet calls the next strategy,
        unless the error is ``avoidable`` by a setting
    :raises vmnet.errors.BridgeError: the interfaces can't be wired
    """


@hookspec(firstresult=True)
def vmnet_bridge_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Return the files and daemons that the wiring needs, and what it cannot carry.

    Called for the strategy that planned the wiring, if it has this hook, before those of the IPAM
    strategies. Its daemons start after :func:`vmnet_bridge_build`, and before theirs.

    :return: data, as from ``vmnet_ipam_deliver``
    :raises vmnet.errors.DeliveryError: a required program is missing
    """


@hookspec(firstresult=True)
def vmnet_bridge_extend(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    """Plan the ports of networks that were connected while the VM runs, without changing anything.

    Called for the same strategy when the identity has interfaces without a port. Without this hook,
    a running VM gets no further network. vmnet then passes the new ports alone to
    :func:`vmnet_bridge_build` and :func:`vmnet_bridge_restore`.

    :param identity: all interfaces of the VM
    :param wiring: the existing ports, which the result contains unchanged
    :return: a port for each interface
    :raises vmnet.errors.BridgeError: the interfaces can't be wired
    """


@hookspec(firstresult=True)
def vmnet_bridge_change(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    """Plan existing ports for interfaces whose addresses, routes or MTU have changed.

    Called for the same strategy while the VM runs. vmnet then passes the changed port to
    :func:`vmnet_bridge_rejoin`. Without this hook, such changes reach the guest at the next start.

    :param identity: all interfaces of the VM, as the guest must see them from now on
    :param wiring: the existing ports
    :return: the same ports, changed as the interfaces require
    :raises vmnet.errors.BridgeError: the running VM can't follow the change
    """


@hookspec(firstresult=True)
def vmnet_bridge_rejoin(settings: Settings, wiring: Wiring) -> bool:
    """Make a port of the running VM correspond to its new plan.

    Called for the same strategy when a NIC of the start was replaced by another NIC with the same
    name, and when :func:`vmnet_bridge_change` has changed a port. The guest's NIC has no carrier
    meanwhile. Without this hook, vmnet blocks a new NIC.

    :param wiring: the port alone, with the state of its uplink
    :return: True
    :raises vmnet.errors.BridgeError: the kernel refused a step
    """


@hookspec(firstresult=True)
def vmnet_bridge_build(settings: Settings, wiring: Wiring) -> bool:
    """Build the planned wiring.

    Called for the same strategy after all planning. It leaves the taps open and inheritable under
    the planned descriptor numbers. If it raises, vmnet calls :func:`vmnet_bridge_restore`.

    :return: True
    :raises vmnet.errors.PrivilegeError: a capability or device is missing
    :raises vmnet.errors.BridgeError: the kernel refused a step
    """


@hookspec(firstresult=True)
def vmnet_bridge_restore(settings: Settings, wiring: Wiring) -> bool:
    """Restore the network from any state to that before :func:`vmnet_bridge_build`.

    Called when a start fails after :func:`vmnet_bridge_build` began, and at the next start in a
    network namespace that outlived its container, even if that start selects another strategy. A
    second call must be harmless.

    :return: True
    :raises vmnet.errors.BridgeError: the kernel refused a step
    """
