"""Turn an identity's IPv6 into the responder's configuration of each NIC. Pure functions.

:mod:`vmnet_dnsmasq.responder_delivery` makes the whole configuration, and
:mod:`vmnet_dnsmasq.ipv6_gaps` lists what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from attrs import frozen

from vmnet.api import (
    Identity,
    Interface,
    Local,
    Route,
    Router,
    Tap,
    Wiring,
    is_domain,
    is_label,
    packets,
)
from vmnet_dnsmasq import dns_names

MOST_ADDRESSES = 16  # of a NIC, so that a DHCPv6 message needs no fragments
# Bytes for options: a packet on the smallest link (RFC 8200 section 5) without the headers of IPv6,
# UDP and DHCPv6, the identifiers of client and server, the preference, and the answer to what a
# client may add: four old addresses and four other associations.
_ROOM = 1280 - 40 - 8 - 4 - 134 - 14 - 5 - 4 * 28 - 4 * 26
_ASSOCIATION, _ADDRESS, _FQDN, _OPTION, _NTP = 16, 28, 7, 4, 24


@frozen
class Ipv6Nic:
    """The IPv6 configuration of one NIC of the guest; addresses and MACs are text, for JSON.

    :param tap: the tap on which the responder hears the guest
    :param guest: the guest's MAC
    :param server: the responder's MAC; the DHCPv6 server derives its address and identifier from it
    :param router: the source address of router advertisements, which is link-local
    :param stand_in: the router's MAC, if the responder must resolve ``router`` to it; empty if the
        router does that itself
    :param default: whether the router is a default router
    :param preferred: whether the guest prefers this router to the routers of its other NICs
    :param mtu: in bytes
    :param on_link: prefixes whose addresses are neighbours
    :param routes: prefixes behind the router
    :param addresses: the guest's addresses
    :param name: the guest's name, with its domain if any; empty if it has no valid name
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


def nics(identity: Identity, wiring: Wiring) -> tuple[Ipv6Nic, ...]:
    """Return a NIC for each interface with an IPv6 address that the responder can serve."""
    preferred, asks_directly = _preferred(identity), wiring.nameserver is None
    return tuple(
        _nic(interface, port.tap, port.local, identity, preferred is interface, asks_directly)
        for interface, port in wiring.pairs(identity)
        if interface.ipv6 and port.tap and port.local
    )


def _nic(
    interface: Interface,
    tap: Tap,
    own: Local,
    identity: Identity,
    preferred: bool,
    asks_directly: bool,
) -> Ipv6Nic:
    router = known_router(interface)
    nameservers, search, ntp = fitting(interface, identity, dns_and_time(identity, asks_directly))
    behind = [route for route in interface.routes_of(6) if _is_through(route, router)]
    address, stand_in = _advertiser(router, own)
    return Ipv6Nic(
        tap=tap.name,
        guest=interface.mac,
        server=own.mac,
        router=address,
        stand_in=stand_in,
        default=any(route.is_default for route in behind),
        preferred=preferred,
        mtu=interface.guest_mtu,
        on_link=tuple(dict.fromkeys(_on_link(interface))),
        routes=tuple(
            dict.fromkeys(str(route.destination) for route in behind if not route.is_default)
        ),
        addresses=tuple(str(address.ip) for address in interface.ipv6[:MOST_ADDRESSES]),
        nameservers=nameservers,
        search=search,
        ntp=ntp,
        name=_name(identity),
    )


Lists = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def dns_and_time(identity: Identity, asks_directly: bool) -> Lists:
    """Return nameservers, search domains and time servers."""
    resolver = identity.resolver
    nameservers = (
        str(address)
        for address in resolver.nameservers
        if asks_directly and isinstance(address, IPv6Address) and not address.is_loopback
    )
    ntp = (str(address) for address in identity.ntp if isinstance(address, IPv6Address))
    search = dns_names.search_domains(identity, serves_hosts=not asks_directly)
    return tuple(nameservers), search, tuple(ntp)


def fitting(interface: Interface, identity: Identity, lists: Lists) -> Lists:
    """Cut each list to what a DHCPv6 message carries in addition to the addresses."""
    addresses = len(interface.ipv6[:MOST_ADDRESSES])
    room = _ROOM - _ASSOCIATION - addresses * _ADDRESS - _FQDN - len(_name(identity))
    nameservers, search, ntp = lists
    count, room = _take(room - _OPTION, [16] * len(nameservers))
    known, room = _take(room - _OPTION, [len(name.removesuffix(".")) + 2 for name in search])
    servers, room = _take(room, [_NTP] * len(ntp))
    return nameservers[:count], search[:known], ntp[:servers]


def _take(room: int, sizes: list[int]) -> tuple[int, int]:
    """Return how many items fit, and the bytes that are left."""
    count = 0
    for size in sizes:
        if size > room:
            break
        room -= size
        count += 1
    return count, room


def _preferred(identity: Identity) -> Interface | None:
    """Return the interface with the best default route."""
    with_default = [interface for interface in identity.interfaces if interface.default_route(6)]
    return min(with_default, key=_metric, default=None)


def _metric(interface: Interface) -> int:
    route = interface.default_route(6)
    return route.metric if route else 0


def known_router(interface: Interface) -> Router | None:
    """Return the interface's router, if its link-local address or its MAC is known."""
    router = interface.router
    return router if router and (router.address or router.mac) else None


def _is_through(route: Route, router: Router | None) -> bool:
    return router is not None and route.gateway == router.gateway


def _advertiser(router: Router | None, own: Local) -> tuple[str, str]:
    """Return the source address of router advertisements, and the MAC to answer for it, if any.

    Without a router, the responder advertises itself with a lifetime of zero. A router without a
    link-local address gets the address that its MAC makes, for which the responder answers.
    """
    if router is None:
        return str(_link_local(own.mac)), ""
    if router.address is None:
        return str(_link_local(router.mac)), router.mac
    return str(router.address), ""


def _link_local(mac: str) -> IPv6Address:
    """Return the link-local address that a MAC makes."""
    return IPv6Address(packets.link_local(packets.mac_bytes(mac)))


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
