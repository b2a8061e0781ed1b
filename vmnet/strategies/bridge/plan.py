"""The ``bridge`` strategy: a Linux bridge and a tap for each of the container's NICs."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface
from typing import Any

from attrs import evolve

from vmnet.api import (
    Bridge,
    BridgeError,
    Identity,
    Interface,
    Local,
    Port,
    Requirements,
    Setting,
    Settings,
    Wiring,
    hookimpl,
)
from vmnet.strategies.ports import addressing, plan
from vmnet.strategies.ports.method import Method
from vmnet.strategies.ports.own_address import Spare

# A bridge port must carry frames of any MAC; these kinds carry only those of their own MAC.
UNBRIDGEABLE = frozenset(("macvlan", "ipvlan"))


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return plan.SETTINGS


@hookimpl
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """Plan br0 and tap0 for the first interface, br1 and tap1 for the second, and so on."""
    plan.require_privileges()
    _refuse_unbridgeable(identity)
    return plan.plan(settings, identity, requirements, _choose)


@hookimpl
def vmnet_bridge_extend(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    """Plan the lowest free numbers for the new interfaces."""
    _refuse_unbridgeable(identity)
    return plan.extend(settings, identity, requirements, wiring, _choose)


@hookimpl
def vmnet_bridge_change(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    from vmnet.strategies.ports import change

    return change.changed(settings, identity, requirements, wiring)


@hookimpl
def vmnet_bridge_rejoin(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.strategies.bridge import build

    build.rejoin(wiring)
    return True


@hookimpl
def vmnet_bridge_build(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.strategies.bridge import build

    build.build(wiring)
    return True


@hookimpl
def vmnet_bridge_restore(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.strategies.bridge import restore

    restore.restore(wiring)
    return True


def _choose(_: Interface) -> Method:
    return METHOD


def _refuse_unbridgeable(identity: Identity) -> None:
    for interface in identity.interfaces:
        if interface.kind in UNBRIDGEABLE:
            raise BridgeError(
                f"{interface.name} is a {interface.kind} interface, which can't be a port of a "
                "bridge",
                "set VMNET_BRIDGE=redirect, or leave it unset",
            )


def _connect(
    _: Any, number: int, interface: Interface, link_local: IPv4Interface
) -> tuple[Bridge, Local]:
    bridge = Local(f"br{number}", addressing.new_mac(interface.mac, "bridge"), link_local)
    return Bridge(addressing.new_mac(interface.mac, "uplink")), bridge


def _give(port: Port, number: int, interface: Interface, spare: Spare) -> Port:
    """Return the port with the spare address on the bridge."""
    assert port.local is not None
    return evolve(port, local=spare.on(port.local))


METHOD = Method(("br",), _connect, _give)
