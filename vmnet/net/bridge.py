"""The ``bridge`` strategy: a Linux bridge and a tap for each of the container's NICs."""

from __future__ import annotations

import itertools
import logging
from ipaddress import IPv4Address, IPv4Interface, IPv6Address

from attrs import evolve

from vmnet.errors import BridgeError
from vmnet.hookspecs import hookimpl
from vmnet.identity import Identity, Interface, Resolver
from vmnet.net import addressing
from vmnet.settings import BRIDGE_ADDRESS, FILTER, Settings
from vmnet.wiring import Port, Requirements, Saved, Sender, Wiring

# The descriptors of the taps start here, well above whatever an engine or a shell hands down.
_FIRST_FD = 100
# What the kernel takes of a filter, 4096 instructions, holds some 220 IPv6 addresses.
_MOST_ADDRESSES = 200
_SPARES = 8  # that may take an address's place
_log = logging.getLogger(__name__)


@hookimpl
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """br0 and tap0 for the first interface, br1 and tap1 for the second, and so on."""
    from vmnet.net import rtnl, snapshot
    from vmnet.net.steps import step

    with step("read the network"), rtnl.Rtnl() as kernel:
        saved = snapshot.take(kernel, [one.name for one in identity.interfaces])
        ports = tuple(
            _plan_port(number, interface, identity, requirements, saved[number])
            for number, interface in enumerate(identity.interfaces)
        )
    if settings[FILTER]:
        ports = tuple(
            evolve(port, sender=_sender(interface, port))
            for port, interface in zip(ports, identity.interfaces, strict=True)
        )
    exit_at = _exit(identity)
    found = _addresses(
        settings[BRIDGE_ADDRESS], identity.interfaces[exit_at], identity, requirements
    )
    if found:
        gateway = _gateway(identity.interfaces[exit_at])
        port = evolve(
            ports[exit_at],
            bridge_address=found[0],
            spares=found[1:],
            link_local=ports[exit_at].bridge_address,
            gateway=gateway,
        )
        ports = (*ports[:exit_at], port, *ports[exit_at + 1 :])
    # From a link-local address a forwarder asks nobody but a resolver in the container itself.
    forwards = requirements.dns and (bool(found) or _is_self_sufficient(identity.resolver))
    nameserver = ports[exit_at].bridge_address.ip if forwards else None
    return Wiring(ports, contain=requirements.contain, nameserver=nameserver)


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


def _plan_port(
    number: int, interface: Interface, identity: Identity, requirements: Requirements, saved: Saved
) -> Port:
    from vmnet.net import links

    bridge, tap = f"br{number}", f"tap{number}"
    for name in (bridge, tap):
        if links.exists(name):
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
        saved=saved,
        guest_addresses=tuple(one.ip for one in interface.ipv4) if requirements.dns else (),
        # A NIC without an address is plain layer 2: its guest may well ask a server out there.
        contain=requirements.contain and bool(interface.addresses),
        owned=_owned(interface, requirements),
    )


def _owned(
    interface: Interface, requirements: Requirements
) -> tuple[IPv4Address | IPv6Address, ...]:
    """The addresses of the interface that nobody but the guest will have."""
    if requirements.any_address:
        return ()
    if len(interface.addresses) > _MOST_ADDRESSES:
        _log.warning("%s has too many addresses to filter: any will do", interface.name)
        return ()
    return tuple(one.ip for one in interface.addresses)


def _sender(interface: Interface, port: Port) -> Sender:
    """Whom the guest may pass for; a NIC without an address is plain layer 2."""
    router = interface.router
    gateways = (one.gateway for one in interface.routes_of(6))
    found = (*gateways, *((router.address, router.gateway) if router else ()))
    routers = dict.fromkeys(
        one for one in found if isinstance(one, IPv6Address) and one.is_link_local
    )
    return Sender(port.owned or None, tuple(routers))


def _exit(identity: Identity) -> int:
    """Which interface leads out: that of the preferred IPv4 default route, else the first.

    Of those without such a route, one with an IPv4 address goes first.
    """

    def rank(position: int) -> tuple[bool, int, bool]:
        interface = identity.interfaces[position]
        route = interface.default_route(4)
        return route is None, route.metric if route else 0, not interface.ipv4

    return min(range(len(identity.interfaces)), key=rank)


def _addresses(
    wish: str | IPv4Interface, interface: Interface, identity: Identity, requirements: Requirements
) -> tuple[IPv4Interface, ...]:
    """An address of the interface's subnet for its bridge, and those that may take its place.

    There are none where link-local will do; one that the user gave is not replaced.

    :param wish: VMNET_BRIDGE_ADDRESS
    """
    if isinstance(wish, IPv4Interface):
        return (wish,)
    if wish == "link-local" or (wish == "auto" and not requirements.dns):
        return ()
    return _free_addresses(interface, identity)


def _free_addresses(interface: Interface, identity: Identity) -> tuple[IPv4Interface, ...]:
    """The first address of the interface's subnet that nobody answers for, and some after it."""
    from vmnet.net import arp
    from vmnet.net.steps import step

    candidates = addressing.spare_candidates(interface, identity)
    if not candidates:
        return ()
    with step(f"look for a free address on {interface.name}"):
        free = arp.first_free(interface.name, [one.ip for one in candidates])
    left = itertools.dropwhile(lambda one: one.ip != free, candidates)
    return tuple(itertools.islice(left, 1 + _SPARES))


def _is_self_sufficient(resolver: Resolver) -> bool:
    return resolver.is_local or not resolver.nameservers


def _gateway(interface: Interface) -> IPv4Address | None:
    route = interface.default_route(4)
    return route.gateway if route and isinstance(route.gateway, IPv4Address) else None
