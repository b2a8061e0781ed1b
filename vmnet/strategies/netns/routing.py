"""What the kernel says of one interface: its addresses, where it leads, and who is on its link."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any

from vmnet.model.identity import Route

Own = tuple[IPv4Interface | IPv6Interface, ...]
Network = IPv4Network | IPv6Network

RT_TABLE_MAIN = 254
RTPROT_KERNEL = 2
_RT_TABLE_LOCAL, _RTN_UNICAST, _RTNH_F_ONLINK = 255, 1, 4
_RT_SCOPE_UNIVERSE = 0
_NEGATIVE = {6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}  # RTN_BLACKHOLE …


def own(messages: Iterable[Any], index: int) -> Own:
    """The global addresses of an interface, in the kernel's order."""
    return tuple(
        ip_interface(f"{_own_address(message)}/{message['prefixlen']}")
        for message in messages
        if message["index"] == index and message["scope"] == _RT_SCOPE_UNIVERSE
    )


def through(messages: Iterable[Any], index: int, own: Own) -> tuple[Route, ...]:
    """The main table's routes through an interface.

    Those that follow from the interface's addresses are left out: the guest's kernel derives them
    anew.

    :param own: the interface's addresses
    """
    found = []
    for message in messages:
        if message.get_attr("RTA_TABLE") == RT_TABLE_MAIN and message["type"] == _RTN_UNICAST:
            hops = _hops(message, index)
            if message["proto"] == RTPROT_KERNEL:
                found += [hop for hop in hops if _is_a_peers(hop, own)]
            else:
                found += hops
    return tuple(found)


def off_link(messages: Iterable[Any], index: int, own: Own) -> tuple[Network, ...]:
    """The prefixes of addresses to which no route leads on the link itself.

    The kernel adds such a route with an address. CNI's ptp plugin replaces it by one through the
    gateway, ``noprefixroute`` leaves it out, and others add it by hand.
    """
    known = list(_ways(messages, index))
    networks = dict.fromkeys(address.network for address in own)
    return tuple(
        network
        for network in networks
        if network.prefixlen < network.max_prefixlen and not _is_connected(network, known)
    )


def negative(message: Any) -> str:
    """The kind of a route in the main table that leads nowhere; empty for any other."""
    is_main = message.get_attr("RTA_TABLE") == RT_TABLE_MAIN
    return _NEGATIVE.get(message["type"], "") if is_main else ""


def destination(message: Any) -> Network:
    wildcard = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    text = f"{message.get_attr('RTA_DST') or wildcard}/{message['dst_len']}"
    return ip_network(text, strict=False)


def _ways(messages: Iterable[Any], index: int) -> Iterator[tuple[bool, Route]]:
    """Every route through an interface, and whether it is in the main table.

    Other tables have some of them where routing depends on the source address (CNI's sbr plugin).
    """
    for message in messages:
        table = message.get_attr("RTA_TABLE")
        if message["type"] == _RTN_UNICAST and table != _RT_TABLE_LOCAL:
            for route in _hops(message, index):
                yield table == RT_TABLE_MAIN, route


def _is_connected(network: Network, known: Iterable[tuple[bool, Route]]) -> bool:
    """Whether the route that the kernel takes to the network has no gateway."""
    covering = [
        (not is_main, -route.destination.prefixlen, route.metric, route.gateway is not None)
        for is_main, route in known
        if _covers(route.destination, network)
    ]
    if not covering:
        return False
    *_, has_gateway = min(covering, key=lambda way: way[:3])  # of equal ones the first
    return not has_gateway


def _covers(wide: Network, narrow: Network) -> bool:
    return (
        wide.version == narrow.version
        and wide.prefixlen <= narrow.prefixlen
        and narrow.network_address in wide
    )


def _is_a_peers(route: Route, own: Own) -> bool:
    """Whether a route that the kernel derived does not follow from the address alone.

    It leads to the other end of an address on a point-to-point link, or to a prefix that a router
    advertised. Link-local prefixes and multicast are every link's.
    """
    to = route.destination
    if to.is_link_local or to.is_multicast or to in {address.network for address in own}:
        return False
    return route.source is None or route.source in {address.ip for address in own}


def _hops(message: Any, index: int) -> list[Route]:
    """The routes a message holds for one interface; a multipath route has several next hops."""
    hops = message.get_attr("RTA_MULTIPATH") or [message]
    return [
        _route(message, hop)
        for hop in hops
        if (hop["oif"] if "oif" in hop else hop.get_attr("RTA_OIF")) == index
    ]


def _route(message: Any, hop: Any) -> Route:
    gateway = hop.get_attr("RTA_GATEWAY") or _gateway_of_other_family(hop)
    source = message.get_attr("RTA_PREFSRC")
    metrics = message.get_attr("RTA_METRICS")
    return Route(
        destination=destination(message),
        gateway=ip_address(gateway) if gateway else None,
        onlink=bool(hop["flags"] & _RTNH_F_ONLINK),
        metric=message.get_attr("RTA_PRIORITY") or 0,
        source=ip_address(source) if source else None,
        mtu=metrics.get_attr("RTAX_MTU") if metrics is not None else None,
    )


def _own_address(message: Any) -> str:
    """IFA_LOCAL where there is one: on point-to-point links IFA_ADDRESS is the peer's."""
    local: str = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return local


def _gateway_of_other_family(hop: Any) -> str | None:
    """RFC 8950: an IPv4 route with an IPv6 next hop."""
    via = hop.get_attr("RTA_VIA")
    return via["addr"] if via is not None else None
