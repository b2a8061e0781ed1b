"""What an engine assigns to a NIC after vmnet has handed over the NIC's addresses and routes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)

from attrs import evolve

from vmnet.model.base import frozen
from vmnet.model.identity import Route
from vmnet.model.wiring import Saved, SavedMessage
from vmnet.net import links, rtnl
from vmnet.net.restore import snapshot
from vmnet.net.restore.message import Message

Own = IPv4Interface | IPv6Interface
_Network = IPv4Network | IPv6Network
_ADDRESS, _ROUTE = rtnl.RTM_NEWADDR, rtnl.RTM_NEWROUTE
_ORDER = (_ADDRESS, rtnl.RTM_NEWNEIGH, rtnl.RTM_NEWNEXTHOP, _ROUTE)
_MAIN, _KERNEL, _UNICAST = 254, 2, 1  # rtnetlink(7)


@frozen
class Assigned:
    """The addresses and routes on a NIC that had none.

    :param addresses: new addresses, in the kernel's order
    :param withdrawn: addresses that are deprecated: their preferred lifetime is 0
    :param routes: the routes of the main table
    :param messages: the same in the kernel's form
    """

    addresses: tuple[Own, ...]
    withdrawn: tuple[Own, ...]
    routes: tuple[Route, ...]
    messages: tuple[Message, ...]

    @property
    def addresses_alone(self) -> Assigned:
        """Without routes, nor what is link-local: that is vmnet's on a NIC with kept ports."""
        own = tuple(
            message
            for message in self.messages
            if _is_global(message) and not _address(message).is_link_local
        )
        return Assigned(
            tuple(_address(message) for message in own if not message.is_deprecated),
            tuple(_address(message) for message in own if message.is_deprecated),
            (),
            own,
        )


def read(kernel: rtnl.Rtnl, name: str) -> Assigned:
    """Return what was assigned to a NIC.

    :raises OSError: there is no such NIC, or the kernel refused
    """
    index = links.index(name)
    found = snapshot.concerning(index, snapshot.read(kernel))
    own = [message for message in found if _is_global(message) and index in message.indices]
    return Assigned(
        tuple(_address(message) for message in own if not message.is_deprecated),
        tuple(_address(message) for message in own if message.is_deprecated),
        tuple(_route(message) for message in found if _is_configured(message)),
        tuple(found),
    )


def addresses(saved: Saved) -> list[Own]:
    """Return the global addresses of a NIC's saved state."""
    return [_address(message) for message in snapshot.messages(saved) if _is_global(message)]


def merged(saved: Saved, found: Sequence[Message], addresses: Iterable[Own]) -> Saved:
    """Return the state of a NIC that has these addresses, and the saved and found routes.

    :param found: what was assigned since, which takes precedence
    :param addresses: the NIC's global addresses
    """
    own, both = tuple(addresses), [*snapshot.messages(saved), *found]
    there = {address.meaning: address for address in both if _is_global(address)}
    by_address = {_address(message): message for message in there.values()}
    others = [message for message in both if message.kind != _ROUTE and not _is_global(message)]
    kept = [*others, *_ranked(by_address[address] for address in own if address in by_address)]
    replaced = {message.slot for message in found if _is_configured(message)}
    routes = [
        route
        for route in both
        if route.kind == _ROUTE and (route.slot not in replaced or route in found)
    ]
    kept += {route.meaning: route for route in _possible(routes, own)}.values()
    kept.sort(key=lambda message: _ORDER.index(message.kind))
    messages = (SavedMessage(message.kind, message.body_as_dumped.hex()) for message in kept)
    return evolve(saved, messages=tuple(messages))


def _possible(routes: Iterable[Message], own: Sequence[Own]) -> Iterator[Message]:
    """Yield the routes that a NIC with these addresses can have.

    The kernel derives an IPv4 subnet's route from the first address of the subnet.
    """
    first = {address.network: address.ip.packed for address in reversed(own)}
    sources = {address.ip.packed for address in own}
    for route in routes:
        network = _destination(route)
        if _is_derived(route) and not (network.is_link_local or network.is_multicast):
            if network in first:
                yield route.with_source(first[network]) if route.source else route
        elif route.source and route.source not in sources:
            continue
        elif not route.gateway or route.is_onlink or _is_reachable(route.gateway, first):
            yield route


def _is_reachable(gateway: bytes, networks: Iterable[_Network]) -> bool:
    address = ip_address(gateway)
    return address.is_link_local or any(address in network for network in networks)


def _ranked(addresses: Iterable[Message]) -> Iterator[Message]:
    """Yield addresses with the flags that the kernel gives them if they are added in this order."""
    networks = set()
    for message in addresses:
        if message.is_ipv6:
            yield message
        else:
            network = _address(message).network
            yield message.ranked(secondary=network in networks)
            networks.add(network)


def _is_global(message: Message) -> bool:
    return message.kind == _ADDRESS and message.fixed[3] == 0  # RT_SCOPE_UNIVERSE


def _is_derived(route: Message) -> bool:
    return (route.fixed[4], route.fixed[5]) == (_MAIN, _KERNEL) and not route.gateway


def _is_configured(message: Message) -> bool:
    """Whether it is a route with one hop that the kernel does not derive by itself."""
    if message.kind != _ROUTE or len(message.indices) != 1 or message.nexthops:
        return False
    table, protocol, kind = message.fixed[4], message.fixed[5], message.fixed[7]
    return (table, kind) == (_MAIN, _UNICAST) and protocol != _KERNEL


def _address(message: Message) -> Own:
    return ip_interface((message.address, message.fixed[1]))


def _destination(route: Message) -> _Network:
    wildcard = bytes(16 if route.is_ipv6 else 4)
    return ip_network((route.address or wildcard, route.fixed[1]), strict=False)


def _route(route: Message) -> Route:
    return Route(
        destination=_destination(route),
        gateway=ip_address(route.gateway) if route.gateway else None,
        onlink=route.is_onlink,
        metric=route.metric,
        source=ip_address(route.source) if route.source else None,
    )
