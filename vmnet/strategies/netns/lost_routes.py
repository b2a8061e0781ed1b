"""Find the routes through interfaces that stay with the container, such as a VPN's tun0.

The guest does not get these routes. If one of its own routes leads to the same destination, its
traffic takes another path than the container's did: it bypasses the VPN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vmnet.api import BypassedRoute, Interface, Route, frozen
from vmnet.strategies.netns import nics, routing


@frozen
class LostRoute:
    """A route of the container that the guest does not get.

    :param table: the routing table; a policy can prefer any table to the main table
    :param by_choice: the route goes through a NIC that VMNET_INTERFACES left out, or it only
        follows from an address of the interface
    """

    lost: BypassedRoute
    table: int
    by_choice: bool

    def __str__(self) -> str:
        return str(self.lost)

    @property
    def route(self) -> Route:
        return self.lost.route

    def diverts(self, interfaces: Iterable[Interface]) -> bool:
        """Return whether the guest sends the route's traffic through one of its interfaces."""
        covering = [
            route
            for interface in interfaces
            for route in _routes(interface)
            if routing.covers(route.destination, self.route.destination)
        ]
        if self.by_choice or not covering:
            return False
        used = max(covering, key=lambda route: (route.destination.prefixlen, -route.metric))
        return self._precedes(used)

    def _precedes(self, other: Route) -> bool:
        """Return whether the container prefers this route to another that leads there as well."""
        is_narrower = self.route.destination != other.destination
        is_main = self.table == routing.RT_TABLE_MAIN
        return is_narrower or not is_main or self.route.metric < other.metric


def find(
    links: Iterable[Any], chosen: Sequence[Any], messages: Sequence[Any]
) -> tuple[LostRoute, ...]:
    """Return the routes through other interfaces than those handed over.

    :param links: all links as pyroute2 messages, like the *chosen* links
    :param messages: all routes as pyroute2 messages
    """
    handed = {link["index"] for link in chosen}
    others = [link for link in links if link["index"] not in handed and not nics.is_loopback(link)]
    return tuple(lost for link in others for lost in _lost(link, messages))


def _lost(link: Any, messages: Iterable[Any]) -> Iterator[LostRoute]:
    for message in messages:
        if message["type"] != routing.RTN_UNICAST:
            continue
        by_choice = nics.is_nic(link) or message["proto"] == routing.RTPROT_KERNEL
        for route in routing.hops(message, link["index"]):
            if not (route.destination.is_link_local or route.destination.is_multicast):
                name, table = link.get_attr("IFLA_IFNAME"), message.get_attr("RTA_TABLE")
                yield LostRoute(BypassedRoute(name, route), table, by_choice)


def _routes(interface: Interface) -> Iterator[Route]:
    """Yield the routes of an interface and those that follow from its addresses."""
    yield from interface.routes
    for own in interface.addresses:
        yield Route(interface.on_link(own).network)
