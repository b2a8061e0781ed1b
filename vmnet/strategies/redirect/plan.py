"""The ``redirect`` strategy: a tap for each NIC, and filters that redirect frames."""

from __future__ import annotations

import logging
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
    Settings,
    Tap,
    Wiring,
    hookimpl,
)
from vmnet.strategies.bridge import addressing
from vmnet.strategies.bridge import plan as bridge

_log = logging.getLogger(__name__)


@hookimpl
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """Plan tap0 for the first interface, tap1 for the second, and so on."""
    # The device next to the uplink has its spare address from the start.
    wiring = bridge.plan(settings, identity, evolve(requirements, claims=False))
    return redirected(wiring, identity, frozenset(own.name for own in identity.interfaces))


@hookimpl
def vmnet_bridge_extend(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    """Plan the lowest free numbers for the new interfaces."""
    extended = bridge.extend(settings, identity, requirements, wiring)
    present = {port.uplink for port in wiring.ports}
    new = frozenset(own.name for own in identity.interfaces if own.name not in present)
    return redirected(extended, identity, new)


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


def redirected(wiring: Wiring, identity: Identity, names: frozenset[str]) -> Wiring:
    """Return a bridge strategy's plan, with redirections for the interfaces of these names.

    A redirected port has the same addresses, filters and containment as a bridged port. Only the
    devices that have the addresses differ: see :func:`_redirected`.
    """
    from vmnet.api import rtnl, step

    nameserver = wiring.nameserver
    ports = []
    with step("read the network"), rtnl.Rtnl() as kernel:
        for number, (interface, port) in enumerate(wiring.pairs(identity)):
            if interface.name in names:
                forwards = wiring.forwards(port)
                port = _redirected(kernel, number, interface, port)
                if forwards and port.local is not None:
                    nameserver = port.local.address.ip
            ports.append(port)
    return evolve(wiring, ports=tuple(ports), nameserver=nameserver)


def _redirected(kernel: Any, number: int, interface: Interface, port: Port) -> Port:
    """Return a bridged port as a redirected port.

    The tap gets the bridge's link-local address. A spare address of the subnet is for another
    device on the network, because the tap reaches only the guest.
    """
    from vmnet.api import links

    for neighbour in interface.neighbours:
        raise BridgeError(
            f"the gateway {neighbour.address} of {interface.name} has a permanent MAC, and a "
            "redirection cannot answer the guest in its place",
            "set VMNET_BRIDGE=bridge, which macvlan and ipvlan do not support; or remove the entry "
            "(`ip neighbour`) if the gateway answers itself",
        )
    if port.kept is not None:
        raise BridgeError(
            f"the container can't keep ports on {interface.name}, whose frames are redirected",
            "unset VMNET_KEEP_PORTS, or use VMNET_BRIDGE=bridge on a network of another kind than "
            "macvlan and ipvlan",
        )
    if port.localhost is not None:
        _log.warning(
            "127.0.0.1 does not lead to the guest: the frames of %s are redirected", interface.name
        )
    mode = links.mode(kernel, interface.name)
    if interface.kind == "ipvlan" and mode != "l2":
        raise BridgeError(
            f"{interface.name} is an ipvlan interface in mode {mode}, which carries no ARP",
            "use the mode l2: `docker network create -d ipvlan -o ipvlan_mode=l2`",
        )
    own = port.local
    assert own is not None
    assert isinstance(port.backend, Tap)
    outside = None
    if own.link_local is not None:
        if mode == "passthru":
            _log.warning(
                "%s is a macvlan interface in mode passthru, which has no siblings: DNS queries "
                "of this container do not reach the network",
                interface.name,
            )
        else:
            is_shared = interface.kind == "ipvlan"
            outside = Outside(
                device=f"out{number}",
                mac=interface.mac if is_shared else addressing.new_mac(interface.mac, "outside"),
                address=own.address,
                spares=own.spares,
                gateway=own.gateway,
            )
    flags = links.get(kernel, interface.name)["flags"] & links.REDIRECTED
    return evolve(
        port,
        localhost=None,
        path=Redirect(interface.kind, flags, outside),
        local=Local(port.backend.name, own.mac, own.link_local or own.address),
    )
