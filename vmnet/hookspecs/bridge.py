"""Bridge: wire the container's interfaces to the guest."""

from __future__ import annotations

from vmnet.hookspecs.markers import hookspec
from vmnet.identity import Identity
from vmnet.settings import Settings
from vmnet.wiring import Requirements, Wiring


@hookspec(firstresult=True)
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """Choose names, MAC and IP addresses, changing nothing.

    Called on the one strategy that ``VMNET_BRIDGE`` names. It may look at the network, and send
    ARP probes to prove an address free (RFC 5227).

    :return: a port for each interface, with all that :func:`vmnet_bridge_restore` will need
    :raises vmnet.errors.BridgeError: the interfaces can't be wired
    """


@hookspec(firstresult=True)
def vmnet_bridge_build(settings: Settings, wiring: Wiring) -> bool:
    """Make the wiring that was planned.

    Called on the same strategy once every stage has planned. It leaves the taps open under the
    planned descriptor numbers, inheritable. When it raises, :func:`vmnet_bridge_restore` follows.

    :return: True
    :raises vmnet.errors.PrivilegeError: a capability or device is missing
    :raises vmnet.errors.BridgeError: the kernel refused a step
    """


@hookspec(firstresult=True)
def vmnet_bridge_restore(settings: Settings, wiring: Wiring) -> bool:
    """Put the network back as it was before the wiring, from whatever state it is in.

    Called when a start fails after :func:`vmnet_bridge_build` began, and at the next start in a
    network namespace that outlived its container. Calling it twice is harmless.

    :return: True
    :raises vmnet.errors.BridgeError: the kernel refused a step
    """
