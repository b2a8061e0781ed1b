"""The ``redirect`` strategy: a tap for each NIC, and filters that redirect frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import IPv4Interface
from typing import Any

from attrs import evolve

from vmnet.api import (
    BridgeError,
    Identity,
    Interface,
    Local,
    Outside,
    Port,
    Redirect,
    Requirements,
    Setting,
    Settings,
    Wiring,
    hookimpl,
)
from vmnet.strategies.ports import addressing, plan
from vmnet.strategies.ports.method import Method
from vmnet.strategies.ports.own_address import Spare

_log = logging.getLogger(__name__)


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return plan.SETTINGS


@hookimpl
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """Plan tap0 for the first interface, tap1 for the second, and so on."""
    return plan.plan(settings, identity, requirements, _choose)


@hookimpl
def vmnet_bridge_extend(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    """Plan the lowest free numbers for the new interfaces."""
    return plan.extend(settings, identity, requirements, wiring, _choose)


@hookimpl
def vmnet_bridge_change(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    from vmnet.strategies.ports import change

    return change.changed(settings, identity, requirements, wiring)


@hookimpl
def vmnet_bridge_rejoin(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.strategies.redirect import build

    build.rejoin(wiring)
    return True


@hookimpl
def vmnet_bridge_build(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.strategies.redirect import build

    build.build(wiring)
    return True


@hookimpl
def vmnet_bridge_restore(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.strategies.redirect import restore

    restore.restore(wiring)
    return True


def _choose(_: Interface) -> Method:
    return METHOD


def _connect(
    kernel: Any, number: int, interface: Interface, link_local: IPv4Interface
) -> tuple[Redirect, Local]:
    from vmnet.api import links, redirection

    _refuse_permanent_gateways(interface)
    with redirection.modules(interface.name):
        redirection.require_action(kernel)
    mode = links.mode(kernel, interface.name)
    if interface.kind == "ipvlan" and mode != "l2":
        raise BridgeError(
            f"{interface.name} is an ipvlan interface in mode {mode}, which carries no ARP",
            "use the mode l2: `docker network create -d ipvlan -o ipvlan_mode=l2`",
        )
    flags = links.get(kernel, interface.name)["flags"] & links.REDIRECTED
    mac = addressing.new_mac(interface.mac, "bridge")
    return Redirect(interface.kind, flags), Local(f"tap{number}", mac, link_local)


def _refuse_permanent_gateways(interface: Interface) -> None:
    for neighbour in interface.neighbours:
        raise BridgeError(
            f"the gateway {neighbour.address} of {interface.name} has a permanent MAC, and a "
            "redirection cannot answer the guest in its place",
            "set VMNET_BRIDGE=bridge, which macvlan and ipvlan do not support; or remove the entry "
            "(`ip neighbour`) if the gateway answers itself",
        )


def _give(port: Port, number: int, interface: Interface, spare: Spare) -> Port:
    """Return the port with the spare address on another device on the network.

    The tap reaches only the guest. It has the address as well, because a guest without a route to
    the tap's link-local address reaches only addresses of the subnet.
    """
    if _is_alone(interface):
        _log.warning(
            "%s is a macvlan interface in mode passthru, which has no siblings: DNS queries of "
            "this container do not reach the network",
            interface.name,
            extra={"event": "names.unavailable"},
        )
        return port
    is_shared = interface.kind == "ipvlan"
    outside = Outside(
        device=f"out{number}",
        mac=interface.mac if is_shared else addressing.new_mac(interface.mac, "outside"),
        address=spare.address,
        spares=spare.replacements,
        gateway=spare.gateway,
    )
    assert isinstance(port.path, Redirect)
    assert port.local is not None
    path = evolve(port.path, outside=outside)
    return evolve(port, path=path, local=spare.alone.on(port.local))


def _is_alone(interface: Interface) -> bool:
    from vmnet.api import links, rtnl, step

    with step("read the network"), rtnl.Rtnl() as kernel:
        return links.mode(kernel, interface.name) == "passthru"


METHOD = Method(("out",), _connect, _give)
