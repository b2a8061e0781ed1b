"""An interface's IPv4 routes as DHCP option 121, classless static routes (RFC 3442)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from attrs import evolve

from vmnet.api import Interface, Route, frozen

Pair = tuple[IPv4Network, IPv4Address]

ON_LINK = IPv4Address(0)
_EVERYWHERE = IPv4Network("0.0.0.0/0")
CAPACITY = 255
"""Bytes of an option, whose length is a single byte (RFC 2132 section 2)."""


@frozen
class Classless:
    """The content of option 121.

    :param pairs: destination and gateway, 0.0.0.0 for the link itself; the default route last;
        empty if option 3 suffices
    :param left_out: routes that do not fit into the option
    :param outranked: routes whose destination has a better route; DHCP has no metrics
    """

    pairs: tuple[Pair, ...] = ()
    left_out: tuple[Route, ...] = ()
    outranked: tuple[Route, ...] = ()


def classless(interface: Interface, nameserver: IPv4Address | None = None) -> Classless:
    """Return the interface's routes, nearest first.

    A client that gets option 121 ignores option 3, so the default route is in both. Option 3 cannot
    express a default route without a gateway. A gateway outside the subnet gets a route to the
    link, before the routes that use it.

    :param nameserver: an address that the guest must reach on this link
    """
    routes = [route for route in interface.routes_of(4) if _is_expressible(route)]
    best = _best(routes)
    outranked = tuple(route for route in routes if best[route.destination] is not route)
    default = best.pop(_EVERYWHERE, None)
    # DHCP gives the guest only the first address.
    option = _Option(evolve(interface, addresses=interface.ipv4[:1]))
    if nameserver is not None:
        option.reach(nameserver)
    if default is not None:
        option.add(default)
    if not best and not option.hosts and (default is None or default.gateway is not None):
        return Classless(outranked=outranked)
    left_out = tuple(route for route in best.values() if not option.add(route))
    return Classless(option.pairs, left_out, outranked)


def gateway_of(route: Route | None) -> IPv4Address | None:
    """Return the route's IPv4 next hop; None if it has none."""
    return route.gateway if route and isinstance(route.gateway, IPv4Address) else None


def _best(routes: Iterable[Route]) -> dict[IPv4Network | IPv6Network, Route]:
    """Return the preferred route for each destination, the first of equal routes."""
    best: dict[IPv4Network | IPv6Network, Route] = {}
    for route in routes:
        known = best.setdefault(route.destination, route)
        if route.metric < known.metric:
            best[route.destination] = route
    return best


class _Option:
    """A builder of the option, which keeps to its capacity."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._room = CAPACITY
        self.hosts: list[Pair] = []
        self._routes: list[Pair] = []
        self._default: list[Pair] = []

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return (*self.hosts, *self._routes, *self._default)

    def reach(self, address: IPv4Address) -> None:
        """Add a route to the link for an address outside the subnet."""
        host = self._host_route(address)
        if self._reserve(host):
            self.hosts += host

    def add(self, route: Route) -> bool:
        """Add a route and the route to its gateway; return False if they do not fit."""
        gateway = gateway_of(route)
        pair = (IPv4Network(route.destination.with_prefixlen), gateway or ON_LINK)
        host = self._host_route(gateway) if gateway is not None else []
        if pair in self.hosts:
            return True
        if not self._reserve([*host, pair]):
            return False
        self.hosts += host
        (self._default if route.is_default else self._routes).append(pair)
        return True

    def _host_route(self, address: IPv4Address) -> list[Pair]:
        """Return the pair that makes an address reachable; empty if it is reachable already."""
        pair = (IPv4Network(address), ON_LINK)
        known = self._interface.is_neighbour(address) or pair in self.hosts or pair in self._routes
        return [] if known else [pair]

    def _reserve(self, pairs: list[Pair]) -> bool:
        """Reserve bytes for prefix length, significant bytes of the destination, and gateway."""
        size = sum(5 + -(-destination.prefixlen // 8) for destination, _ in pairs)
        if size > self._room:
            return False
        self._room -= size
        return True


def _is_expressible(route: Route) -> bool:
    """Whether option 121 can express a route: it has no IPv6 next hops (RFC 8950)."""
    return route.gateway is None or isinstance(route.gateway, IPv4Address)
