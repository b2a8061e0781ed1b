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
from vmnet_dnsmasq import searched

_REMEDY = "VMNET_IPAM=cloudinit carries it"
_MOST_ADDRESSES = 16  # of a NIC: a DHCPv6 message must not need fragments
# Bytes of it: what the smallest link carries (RFC 8200 section 5) less the headers of IPv6, UDP and
# DHCPv6, the identifiers of client and server, the preference, and what a client may add: an old
# address or four and other associations.
_ROOM = 1280 - 40 - 8 - 4 - 134 - 14 - 5 - 4 * 28 - 4 * 26
_ASSOCIATION, _ADDRESS, _FQDN, _OPTION, _NTP = 16, 28, 7, 4, 24


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
    router = _known_router(interface)
    nameservers, search, ntp = _fitting(interface, identity, _lists(identity, asks_itself))
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
        nameservers=nameservers,
        search=search,
        ntp=ntp,
        name=_name(identity),
    )


Lists = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
_LISTS = ("IPv6 nameservers", "search domains", "IPv6 time servers")


def _lists(identity: Identity, asks_itself: bool) -> Lists:
    """Nameservers, search domains, time servers."""
    resolver = identity.resolver
    nameservers = (
        str(address)
        for address in resolver.nameservers
        if asks_itself and isinstance(address, IPv6Address) and not address.is_loopback
    )
    ntp = (str(address) for address in identity.ntp if isinstance(address, IPv6Address))
    search = searched.domains(identity, serves_hosts=not asks_itself)
    return tuple(nameservers), search, tuple(ntp)


def _fitting(interface: Interface, identity: Identity, lists: Lists) -> Lists:
    """Cut each list to what a DHCPv6 message carries in addition to the addresses."""
    addresses = len(interface.ipv6[:_MOST_ADDRESSES])
    room = _ROOM - _ASSOCIATION - addresses * _ADDRESS - _FQDN - len(_name(identity))
    nameservers, search, ntp = lists
    count, room = _take(room - _OPTION, [16] * len(nameservers))
    known, room = _take(room - _OPTION, [len(name.removesuffix(".")) + 2 for name in search])
    servers, room = _take(room, [_NTP] * len(ntp))
    return nameservers[:count], search[:known], ntp[:servers]


def _take(room: int, sizes: list[int]) -> tuple[int, int]:
    """How many fit, and the bytes that are left."""
    count = 0
    for size in sizes:
        if size > room:
            break
        room -= size
        count += 1
    return count, room


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


def uncarried(identity: Identity, asks_itself: bool = True) -> Iterator[str]:
    """One line for each part of it that the guest can't be told.

    :param asks_itself: whether the guest is told the container's nameservers, and no forwarder
    """
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
        lists = _lists(identity, asks_itself)
        carried = _fitting(interface, identity, lists)
        for what, given, kept in zip(_LISTS, lists, carried, strict=True):
            if rest := given[len(kept) :]:
                yield (
                    f"{len(rest)} of {len(given)} {what}, from {rest[0]} on, to {interface.name}: "
                    f"a DHCPv6 message holds 1280 bytes ({_REMEDY})"
                )


def _obstacle(route: Route, interface: Interface) -> str:
    """Why the guest can't be told of a route; empty where it can."""
    if route.gateway is None:
        return "a default route needs a gateway" if route.is_default else ""
    if interface.router is None or route.gateway != interface.router.gateway:
        return "router advertisements speak for one gateway"
    return "" if _known_router(interface) else "nobody answers for its gateway at present"
