"""An identity's IPv6 as the responder is to tell it. Pure functions.

See :mod:`vmnet_dnsmasq.helper` for the configuration that it becomes a part of.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from attrs import frozen

from vmnet.identity import Identity, Interface, Route, Router
from vmnet.names import is_domain, is_label
from vmnet.wiring import Port, Wiring

_REMEDY = "VMNET_IPAM=cloudinit carries it"
_MOST_ADDRESSES = 16  # of a NIC: a DHCPv6 message must not need fragments


@frozen
class Nic:
    """What the guest hears on one of its NICs; addresses and MACs are text, as JSON has them.

    :param tap: where the guest is heard
    :param guest: its MAC
    :param server: the MAC that answers, of which the DHCPv6 server makes its address and identifier
    :param router: the link-local address that router advertisements come from
    :param stand_in: the MAC to tell for that address; empty where the router tells it itself
    :param default: whether it is a default router
    :param preferred: whether it is to be preferred to that of any other NIC
    :param mtu: in bytes
    :param on_link: prefixes whose addresses are neighbours
    :param routes: prefixes behind the router
    :param addresses: the guest's
    :param name: the guest's, with its domain if it has one; empty where there is none
    """

    tap: str
    guest: str
    server: str
    router: str
    stand_in: str
    default: bool
    preferred: bool
    mtu: int
    on_link: tuple[str, ...]
    routes: tuple[str, ...]
    addresses: tuple[str, ...]
    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    ntp: tuple[str, ...]
    name: str


def nics(identity: Identity, wiring: Wiring) -> tuple[Nic, ...]:
    """One for each interface with an IPv6 address."""
    preferred = _preferred(identity)
    return tuple(
        _nic(interface, port, identity, preferred is interface, wiring.nameserver is None)
        for interface, port in zip(identity.interfaces, wiring.ports, strict=True)
        if interface.ipv6
    )


def _nic(
    interface: Interface, port: Port, identity: Identity, preferred: bool, asks_itself: bool
) -> Nic:
    router, resolver = _known_router(interface), identity.resolver
    behind = [one for one in interface.routes_of(6) if _is_through(one, router)]
    address, stand_in = _speaker(router, port)
    return Nic(
        tap=port.tap,
        guest=port.guest_mac,
        server=port.bridge_mac,
        router=address,
        stand_in=stand_in,
        default=any(one.is_default for one in behind),
        preferred=preferred,
        mtu=port.mtu,
        on_link=tuple(dict.fromkeys(_on_link(interface))),
        routes=tuple(dict.fromkeys(str(one.destination) for one in behind if not one.is_default)),
        addresses=tuple(str(one.ip) for one in interface.ipv6[:_MOST_ADDRESSES]),
        nameservers=tuple(
            str(one)
            for one in resolver.nameservers
            if asks_itself and isinstance(one, IPv6Address) and not one.is_loopback
        ),
        search=tuple(filter(is_domain, resolver.search)),
        ntp=tuple(str(one) for one in identity.ntp if isinstance(one, IPv6Address)),
        name=_name(identity),
    )


def _preferred(identity: Identity) -> Interface | None:
    """The interface with the best default route."""
    with_default = [one for one in identity.interfaces if one.default_route(6)]
    return min(with_default, key=_metric, default=None)


def _metric(interface: Interface) -> int:
    route = interface.default_route(6)
    return route.metric if route else 0


def _known_router(interface: Interface) -> Router | None:
    """The interface's router, if it has answered on the link or needed not be asked."""
    router = interface.router
    return router if router and (router.address or router.mac) else None


def _is_through(route: Route, router: Router | None) -> bool:
    return router is not None and route.gateway == router.gateway


def _speaker(router: Router | None, port: Port) -> tuple[str, str]:
    """Who sends the router advertisements, and the MAC to tell for it where it can't do so.

    Without a router it is the responder itself, which then says that it is none. A router that has
    no link-local address is lent the one that its MAC makes, which nobody else has.
    """
    if router is None:
        return str(_link_local(port.bridge_mac)), ""
    if router.address is None:
        return str(_link_local(router.mac)), router.mac
    return str(router.address), ""


def _link_local(mac: str) -> IPv6Address:
    """RFC 4291 appendix A."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes((octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]))
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


def _on_link(interface: Interface) -> Iterator[str]:
    for address in map(interface.on_link, interface.ipv6):
        if address.network.prefixlen < 128:
            yield str(address.network)
    for route in interface.routes_of(6):
        if route.gateway is None and not route.is_default:
            yield str(route.destination)


def _name(identity: Identity) -> str:
    if not is_label(identity.hostname):
        return ""
    return f"{identity.hostname}.{identity.domain}" if _has_domain(identity) else identity.hostname


def _has_domain(identity: Identity) -> bool:
    return is_domain(identity.domain) and is_domain(f"{identity.hostname}.{identity.domain}")


def uncarried(identity: Identity) -> Iterator[str]:
    """One line for each part of it that the guest can't be told."""
    for interface in identity.interfaces:
        if not interface.ipv6:
            continue
        if more := interface.ipv6[_MOST_ADDRESSES:]:
            yield f"further addresses of {interface.name}: {', '.join(map(str, more))} ({_REMEDY})"
        for route in interface.routes_of(6):
            if reason := _obstacle(route, interface):
                via = f" via {route.gateway}" if route.gateway else ""
                yield f"route to {route.destination}{via} of {interface.name}: {reason} ({_REMEDY})"
        if any(route.mtu for route in interface.routes_of(6)):
            yield f"IPv6 route MTUs of {interface.name} ({_REMEDY})"


def _obstacle(route: Route, interface: Interface) -> str:
    """Why the guest can't be told of a route; empty where it can."""
    if route.gateway is None:
        return "a default route needs a gateway" if route.is_default else ""
    if interface.router is None or route.gateway != interface.router.gateway:
        return "router advertisements speak for one gateway"
    return "" if _known_router(interface) else "nobody answers for its gateway at present"
