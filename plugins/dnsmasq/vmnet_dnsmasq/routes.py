"""An interface's IPv4 routes as DHCP's option 121, classless static routes (RFC 3442)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from vmnet.identity import Interface, Route
from vmnet.noun import Noun, noun

Pair = tuple[IPv4Network, IPv4Address]

ON_LINK = IPv4Address(0)
_EVERYWHERE = IPv4Network("0.0.0.0/0")
_CAPACITY = 255  # bytes: an option's length is one byte (RFC 2132 section 2)


@noun
class Classless(Noun):
    """What option 121 says.

    :param pairs: destination and gateway, 0.0.0.0 for the link itself; the default route last;
        empty where option 3 alone says it all
    :param left_out: routes for which the option has no room
    :param outranked: routes to a destination that a better one leads to, which DHCP has no word for
    """

    pairs: tuple[Pair, ...] = ()
    left_out: tuple[Route, ...] = ()
    outranked: tuple[Route, ...] = ()


def classless(interface: Interface, nameserver: IPv4Address | None = None) -> Classless:
    """The interface's routes, nearest first.

    A client that gets option 121 ignores option 3, so the default route is in both. A gateway
    outside the subnet is itself made reachable on the link before the routes that use it.

    :param nameserver: an address to be reached on this link
    """
    routes = [route for route in interface.routes_of(4) if _sayable(route)]
    best = _best(routes)
    outranked = tuple(route for route in routes if best[route.destination] is not route)
    default = best.pop(_EVERYWHERE, None)
    option = _Option(interface)
    if nameserver is not None:
        option.reach(nameserver)
    if default is not None:
        option.add(default)
    if not best and not option.hosts:
        return Classless(outranked=outranked)
    left_out = tuple(route for route in best.values() if not option.add(route))
    return Classless(option.pairs, left_out, outranked)


def gateway_of(route: Route | None) -> IPv4Address | None:
    """The IPv4 next hop, if that is what the route has."""
    return route.gateway if route and isinstance(route.gateway, IPv4Address) else None


def _best(routes: Iterable[Route]) -> dict[IPv4Network | IPv6Network, Route]:
    """For each destination the route that is preferred, of equal ones the first."""
    best: dict[IPv4Network | IPv6Network, Route] = {}
    for route in routes:
        known = best.setdefault(route.destination, route)
        if route.metric < known.metric:
            best[route.destination] = route
    return best


class _Option:
    """An option in the making, which never grows beyond its capacity."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._room = _CAPACITY
        self.hosts: list[Pair] = []
        self._routes: list[Pair] = []
        self._default: list[Pair] = []

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return (*self.hosts, *self._routes, *self._default)

    def reach(self, address: IPv4Address) -> None:
        """Have an address outside the subnet on the link."""
        way = self._way_to(address)
        if self._make_room(way):
            self.hosts += way

    def add(self, route: Route) -> bool:
        """Add a route and the way to its gateway; False where there is no room."""
        gateway = gateway_of(route)
        pair = (IPv4Network(route.destination.with_prefixlen), gateway or ON_LINK)
        way = self._way_to(gateway) if gateway is not None else []
        if pair in self.hosts:
            return True
        if not self._make_room([*way, pair]):
            return False
        self.hosts += way
        (self._default if route.is_default else self._routes).append(pair)
        return True

    def _way_to(self, address: IPv4Address) -> list[Pair]:
        """The pair that an address outside the subnet still needs."""
        pair = (IPv4Network(address), ON_LINK)
        known = not _is_far(address, self._interface) or pair in self.hosts or pair in self._routes
        return [] if known else [pair]

    def _make_room(self, pairs: list[Pair]) -> bool:
        """A pair takes its prefix length, the destination's significant bytes and the gateway."""
        size = sum(5 + -(-destination.prefixlen // 8) for destination, _ in pairs)
        if size > self._room:
            return False
        self._room -= size
        return True


def _sayable(route: Route) -> bool:
    """An IPv6 next hop of an IPv4 route (RFC 8950) does not fit."""
    return route.gateway is None or isinstance(route.gateway, IPv4Address)


def _is_far(address: IPv4Address, interface: Interface) -> bool:
    return address not in interface.on_link(interface.ipv4[0]).network
