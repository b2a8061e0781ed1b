"""Read an interface's addresses, routes and on-link prefixes from the kernel's messages."""

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

from vmnet.api import Route

Own = tuple[IPv4Interface | IPv6Interface, ...]
Network = IPv4Network | IPv6Network

RT_TABLE_MAIN = 254
RTPROT_KERNEL = 2
RTN_UNICAST = 1
_RT_TABLE_LOCAL, _RTNH_F_ONLINK = 255, 4
_RT_SCOPE_UNIVERSE = 0
_NEGATIVE = {6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}  # RTN_BLACKHOLE …


def addresses_of(messages: Iterable[Any], index: int) -> Own:
    """Return the global addresses of an interface in the kernel's order."""
    return tuple(
        ip_interface(f"{_local_address(message)}/{message['prefixlen']}")
        for message in messages
        if message["index"] == index and message["scope"] == _RT_SCOPE_UNIVERSE
    )


def routes_through(messages: Iterable[Any], index: int, own: Own) -> tuple[Route, ...]:
    """Return the main table's routes through an interface.

    Routes that follow from the interface's addresses are left out, because the guest's kernel
    derives them as well.

    :param own: the interface's addresses
    """
    found = []
    for message in messages:
        if message.get_attr("RTA_TABLE") == RT_TABLE_MAIN and message["type"] == RTN_UNICAST:
            through = hops(message, index)
            if message["proto"] == RTPROT_KERNEL:
                found += [hop for hop in through if not _follows_from_addresses(hop, own)]
            else:
                found += through
    return tuple(found)


def off_link(messages: Iterable[Any], index: int, own: Own) -> tuple[Network, ...]:
    """Return the prefixes of addresses that have no on-link route.

    The kernel adds an on-link route with each address. CNI's ptp plugin replaces it with a route
    through the gateway. ``noprefixroute`` suppresses it, and some programs then add it themselves.
    """
    routes = list(_unicast_routes(messages, index))
    networks = dict.fromkeys(address.network for address in own)
    return tuple(
        network
        for network in networks
        if network.prefixlen < network.max_prefixlen and not _is_on_link(network, routes)
    )


def negative_kind(message: Any) -> str:
    """Return the kind of a main-table route that discards packets; empty for any other route."""
    is_main = message.get_attr("RTA_TABLE") == RT_TABLE_MAIN
    return _NEGATIVE.get(message["type"], "") if is_main else ""


def destination(message: Any) -> Network:
    wildcard = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    text = f"{message.get_attr('RTA_DST') or wildcard}/{message['dst_len']}"
    return ip_network(text, strict=False)


def covers(wide: Network, narrow: Network) -> bool:
    """Return whether a network contains all addresses of another."""
    return (
        wide.version == narrow.version
        and wide.prefixlen <= narrow.prefixlen
        and narrow.network_address in wide
    )


def hops(message: Any, index: int) -> list[Route]:
    """Return a message's routes through an interface; a multipath route has several next hops."""
    hops = message.get_attr("RTA_MULTIPATH") or [message]
    return [
        _route(message, hop)
        for hop in hops
        if (hop["oif"] if "oif" in hop else hop.get_attr("RTA_OIF")) == index
    ]


def _unicast_routes(messages: Iterable[Any], index: int) -> Iterator[tuple[bool, Route]]:
    """Yield every route through an interface, and whether it is in the main table.

    CNI's sbr plugin moves routes to other tables, to route by source address.
    """
    for message in messages:
        table = message.get_attr("RTA_TABLE")
        if message["type"] == RTN_UNICAST and table != _RT_TABLE_LOCAL:
            for route in hops(message, index):
                yield table == RT_TABLE_MAIN, route


def _is_on_link(network: Network, routes: Iterable[tuple[bool, Route]]) -> bool:
    """Whether the kernel's route to the network has no gateway."""
    covering = [
        (not is_main, -route.destination.prefixlen, route.metric, route.gateway is not None)
        for is_main, route in routes
        if covers(route.destination, network)
    ]
    if not covering:
        return False
    *_, has_gateway = min(covering, key=lambda entry: entry[:3])  # the first of equal routes
    return not has_gateway


def _follows_from_addresses(route: Route, own: Own) -> bool:
    """Whether the kernel derives a route from the interface's addresses alone.

    Link-local and multicast prefixes count: every link has them. A route to the peer of a
    point-to-point address, or to a prefix that a router advertised, does not follow.
    """
    to = route.destination
    if to.is_link_local or to.is_multicast or to in {address.network for address in own}:
        return True
    return route.source is not None and route.source not in {address.ip for address in own}


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


def _local_address(message: Any) -> str:
    """Return IFA_LOCAL if present: on point-to-point links IFA_ADDRESS is the peer's address."""
    local: str = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return local


def _gateway_of_other_family(hop: Any) -> str | None:
    """Return the IPv6 next hop of an IPv4 route (RFC 8950)."""
    via = hop.get_attr("RTA_VIA")
    return via["addr"] if via is not None else None
