"""The ``bridge`` strategy: a Linux bridge and a tap for each of the container's NICs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING

from attrs import evolve

from vmnet.errors import BridgeError
from vmnet.hookspecs import hookimpl
from vmnet.identity import Identity, Interface
from vmnet.net import addressing
from vmnet.settings import BRIDGE_ADDRESS, Settings
from vmnet.wiring import Port, Requirements, Wiring

if TYPE_CHECKING:
    from vmnet.net.rtnl import Rtnl

# The descriptors of the taps start here, well above whatever an engine or a shell hands down.
_FIRST_FD = 100


@hookimpl
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """br0 and tap0 for the first interface, br1 and tap1 for the second, and so on."""
    from vmnet.net import rtnl

    with rtnl.Rtnl() as kernel:
        ports = tuple(
            _plan_port(kernel, number, interface, identity)
            for number, interface in enumerate(identity.interfaces)
        )
    wiring = Wiring(ports, contain=requirements.contain)
    return _give_own_address(wiring, identity, settings[BRIDGE_ADDRESS], requirements.egress)


@hookimpl
def vmnet_bridge_build(settings: Settings, wiring: Wiring) -> bool:
    """Taps first: they prove the privileges while the network is untouched."""
    from vmnet.net import build

    build.build(wiring)
    return True


@hookimpl
def vmnet_bridge_restore(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.net import build

    build.restore(wiring)
    return True


def _plan_port(kernel: Rtnl, number: int, interface: Interface, identity: Identity) -> Port:
    from vmnet.net import links, snapshot

    bridge, tap = f"br{number}", f"tap{number}"
    for name in (bridge, tap):
        if links.find(kernel, name) is not None:
            raise BridgeError(
                f"there is an interface {name} already",
                "vmnet makes that one itself; does another VM run in this network namespace?",
            )
    return Port(
        uplink=interface.name,
        uplink_mac=addressing.new_mac(interface.mac, "uplink"),
        bridge=bridge,
        bridge_mac=addressing.new_mac(interface.mac, "bridge"),
        bridge_address=addressing.link_local(interface.mac, identity),
        tap=tap,
        tap_fds=(_FIRST_FD + number,),
        guest_mac=interface.mac,
        mtu=interface.mtu,
        saved=snapshot.take(kernel, links.index(interface.name)),
    )


def _give_own_address(
    wiring: Wiring, identity: Identity, wish: str | IPv4Interface, egress: bool
) -> Wiring:
    """The wiring with an address of a subnet on the bridge that has the default route, if need be.

    :param wish: VMNET_BRIDGE_ADDRESS
    :param egress: something in the container must reach the network
    """
    if wish == "link-local" or (wish == "auto" and not egress):
        return wiring
    position = _exit(identity)
    if position is None:
        return wiring
    interface = identity.interfaces[position]
    own = wish if isinstance(wish, IPv4Interface) else _free_address(interface, identity)
    if own is None:
        return wiring
    ports = list(wiring.ports)
    ports[position] = evolve(ports[position], bridge_address=own, gateway=_gateway(interface))
    return evolve(wiring, ports=tuple(ports))


def _exit(identity: Identity) -> int | None:
    """Which interface leads out: that of the preferred IPv4 default route, else the first."""
    routes = [
        (route.metric, position)
        for position, interface in enumerate(identity.interfaces)
        if (route := interface.default_route(4)) is not None
    ]
    if routes:
        return min(routes)[1]
    return next((at for at, one in enumerate(identity.interfaces) if one.ipv4), None)


def _free_address(interface: Interface, identity: Identity) -> IPv4Interface | None:
    """An address of the interface's subnet that nobody answers for, or None where none is left."""
    from vmnet.net import arp

    candidates = addressing.spare_candidates(interface, identity)
    if not candidates:
        return None
    taken = arp.in_use(interface.name, [one.ip for one in candidates])
    return next((one for one in candidates if one.ip not in taken), None)


def _gateway(interface: Interface) -> IPv4Address | None:
    route = interface.default_route(4)
    return route.gateway if route and isinstance(route.gateway, IPv4Address) else None
