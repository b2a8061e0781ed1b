"""An interface's IPv4 routes as DHCP's option 121, classless static routes (RFC 3442)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from attrs import frozen

from vmnet.identity import Interface, Route
from vmnet.noun import Noun

Pair = tuple[IPv4Network, IPv4Address]

ON_LINK = IPv4Address(0)
_CAPACITY = 255  # bytes: an option's length is one byte (RFC 2132 section 2)


@frozen(eq=False, repr=False)
class Classless(Noun):
    """What option 121 says.

    :param pairs: destination and gateway, 0.0.0.0 for the link itself; the default route last;
        empty where option 3 alone says it all
    :param left_out: routes for which the option has no room
    """

    pairs: tuple[Pair, ...] = ()
    left_out: tuple[Route, ...] = ()


def classless(interface: Interface, nameserver: IPv4Address | None = None) -> Classless:
    """The interface's routes, nearest first.

    A client that gets option 121 ignores option 3, so the default route is in both. A gateway
    outside the subnet is itself made reachable on the link before the routes that use it.

    :param nameserver: an address to be reached on this link
    """
    default = interface.default_route(4)
    others = [route for route in interface.routes_of(4) if not route.is_default and _sayable(route)]
    needed = _Draft()
    if nameserver is not None and _is_far(nameserver, interface):
        needed = needed.with_host(nameserver)
    if default is not None and _sayable(default):
        needed = needed.with_route(default, interface)
    if not others and not needed.hosts:
        return Classless()
    left_out = []
    draft = needed
    for route in others:
        longer = draft.with_route(route, interface)
        if longer.size <= _CAPACITY:
            draft = longer
        else:
            left_out.append(route)
    return Classless(draft.pairs, tuple(left_out))


def gateway_of(route: Route | None) -> IPv4Address | None:
    """The IPv4 next hop, if that is what the route has."""
    return route.gateway if route and isinstance(route.gateway, IPv4Address) else None


@frozen(eq=False, repr=False)
class _Draft(Noun):
    """An option in the making."""

    hosts: tuple[Pair, ...] = ()
    routes: tuple[Pair, ...] = ()
    default: tuple[Pair, ...] = ()

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return self.hosts + self.routes + self.default

    @property
    def size(self) -> int:
        """In bytes: prefix length, the destination's significant bytes, the gateway."""
        return sum(5 + -(-destination.prefixlen // 8) for destination, _ in self.pairs)

    def with_host(self, address: IPv4Address) -> _Draft:
        pair = (IPv4Network(address), ON_LINK)
        if pair in self.hosts or pair in self.routes:
            return self
        return _Draft((*self.hosts, pair), self.routes, self.default)

    def with_route(self, route: Route, interface: Interface) -> _Draft:
        gateway = gateway_of(route)
        pair = (IPv4Network(str(route.destination)), gateway or ON_LINK)
        draft = self
        if gateway is not None and _is_far(gateway, interface):
            draft = self.with_host(gateway)
        if pair in draft.hosts:
            return draft
        if route.is_default:
            return _Draft(draft.hosts, draft.routes, (pair,))
        return _Draft(draft.hosts, (*draft.routes, pair), draft.default)


def _sayable(route: Route) -> bool:
    """An IPv6 next hop of an IPv4 route (RFC 8950) does not fit."""
    return route.gateway is None or isinstance(route.gateway, IPv4Address)


def _is_far(address: IPv4Address, interface: Interface) -> bool:
    return address not in interface.ipv4[0].network
