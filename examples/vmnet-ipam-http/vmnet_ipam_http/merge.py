"""What the container had and what the service says become one identity, or are refused.

What the service does not say stays as captured. What it says must make sense as a whole: that is
looked at here, since the guest would only tell by not being reachable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from typing import Any

from attrs import evolve

from vmnet.api import Host, Identity, Interface, Route, Router, is_domain, is_label
from vmnet_ipam_http.protocol import IdentityAnswer, InterfaceAnswer

Address = IPv4Address | IPv6Address

_THIS_NETWORK = IPv4Network("0.0.0.0/8")  # RFC 1122 section 3.2.1.3


def merge(identity: Identity, answer: IdentityAnswer) -> Identity:
    """The identity with all that the answer says in place of what was captured.

    :raises ValueError: the answer, or what comes of it, makes no sense
    """
    changes: dict[str, Any] = {}
    if answer.interfaces is not None:
        changes["interfaces"] = _interfaces(identity, answer.interfaces)
    if answer.hostname is not None:
        _require(is_label(answer.hostname), f"hostname: {answer.hostname!r} is no host name")
        changes["hostname"] = answer.hostname
    if answer.domain is not None:
        changes["domain"] = _domain("domain", answer.domain) if answer.domain else ""
    if answer.hosts is not None:
        changes["hosts"] = tuple(map(_host, answer.hosts))
    if answer.ntp is not None:
        changes["ntp"] = _servers("ntp", answer.ntp)
    resolver = identity.resolver
    if answer.nameservers is not None:
        resolver = evolve(resolver, nameservers=_servers("nameservers", answer.nameservers))
    if answer.search is not None:
        search = tuple(_domain("search", one) for one in answer.search)
        _refuse_doubles("search", search)
        resolver = evolve(resolver, search=search)
    return evolve(identity, resolver=resolver, **changes)


def _interfaces(identity: Identity, answers: Sequence[InterfaceAnswer]) -> tuple[Interface, ...]:
    _refuse_doubles("interfaces", (one.name for one in answers))
    captured = {one.name: one for one in identity.interfaces}
    for one in answers:
        has = ", ".join(captured)
        _require(one.name in captured, f"interfaces: there is no {one.name!r}, only {has}")
    said = {one.name: one for one in answers}
    found = tuple(
        _interface(one, said[one.name]) if one.name in said else one for one in identity.interfaces
    )
    if any(one.addresses is not None for one in answers):
        _refuse_doubles("addresses", (own.ip for one in found for own in one.addresses))
    return found


def _interface(captured: Interface, answer: InterfaceAnswer) -> Interface:
    if answer.addresses is None and answer.routes is None:
        return captured
    addresses = captured.addresses
    if answer.addresses is not None:
        for one in answer.addresses:
            _require(_is_a_hosts(one), f"{captured.name}: {one} is no address of a host")
        addresses = answer.addresses
    if answer.routes is None:
        own = {one.ip for one in addresses}
        routes = tuple(
            one if one.source in own else evolve(one, source=None) for one in captured.routes
        )
        changed = evolve(captured, addresses=addresses, routes=routes)
        _require_each(_unreachable, changed, ", as captured: new addresses take new routes, too")
    else:
        changed = evolve(captured, addresses=addresses, routes=answer.routes)
        _refuse_doubles(
            f"routes of {captured.name}",
            (f"{one.destination} of metric {one.metric}" for one in answer.routes),
        )
        _require_each(_malformed, changed)
        _require_each(_unreachable, changed)
    return evolve(
        changed,
        routes=tuple(
            evolve(one, onlink=one.onlink and _is_far(one, changed)) for one in changed.routes
        ),
        router=_known_router(changed),
    )


def _known_router(interface: Interface) -> Router | None:
    """The router as captured, where it still is one; vmnet looks for a new one itself."""
    known = interface.router
    return known if known and known.gateway in {one.gateway for one in interface.routes} else None


def _require_each(
    obstacle: Callable[[Route, Interface], str], interface: Interface, remark: str = ""
) -> None:
    for route in interface.routes:
        if found := obstacle(route, interface):
            via = f" via {route.gateway}" if route.gateway else ""
            raise ValueError(
                f"{interface.name}: route to {route.destination}{via}: {found}{remark}"
            )


def _is_a_hosts(own: IPv4Interface | IPv6Interface) -> bool:
    """Whether a host may have it, beside others of its subnet."""
    network = own.network
    if network.prefixlen == 0 or not _is_unicast(own.ip) or own.ip.is_link_local:
        return False
    if isinstance(network, IPv4Network) and network.prefixlen < 31:
        return own.ip not in (network.network_address, network.broadcast_address)
    return True


def _is_unicast(address: Address) -> bool:
    """Whether it can be that of another machine."""
    if isinstance(address, IPv6Address):
        special = address.ipv4_mapped is not None
    else:
        special = address.is_reserved or address in _THIS_NETWORK
    return not (special or address.is_unspecified or address.is_loopback or address.is_multicast)


def _malformed(route: Route, interface: Interface) -> str:
    """Why no guest could have a route like this; empty if one could."""
    gateway, own = route.gateway, {one.ip for one in interface.addresses}
    if route.destination.is_multicast or route.destination.is_loopback:
        return "nothing is routed there"
    if route.mtu is not None and not 68 <= route.mtu <= 65535:
        return f"its mtu {route.mtu} is not from 68 to 65535"
    if route.source is not None and route.source not in own:
        return f"its source {route.source} is no address of {interface.name}"
    if gateway is None:
        return "onlink takes a gateway" if route.onlink else ""
    if gateway.version != route.destination.version:
        return "its gateway is of the other IP version"
    if not _is_unicast(gateway) or gateway in own:
        return "its gateway is no other machine"
    return ""


def _unreachable(route: Route, interface: Interface) -> str:
    """Why this guest can't use a route; empty if it can."""
    version = route.destination.version
    if not any(one.version == version for one in interface.addresses):
        return f"{interface.name} has no IPv{version} address"
    if _is_far(route, interface) and not (route.onlink or _is_covered(route, interface)):
        return "its gateway is in no subnet of the interface, and the route is not onlink"
    return ""


def _is_far(route: Route, interface: Interface) -> bool:
    """Whether no address makes the gateway a neighbour; an IPv6 link-local one always is."""
    gateway = route.gateway
    if gateway is None or (gateway.version == 6 and gateway.is_link_local):
        return False
    return not any(gateway in one.network for one in interface.addresses)


def _is_covered(route: Route, interface: Interface) -> bool:
    """Whether a route to the link itself leads to the gateway."""
    return any(
        route.gateway in one.destination
        for one in interface.routes
        if one.gateway is None and not one.is_default
    )


def _servers(name: str, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Loopback is refused: it would be the guest's own."""
    _refuse_doubles(name, addresses)
    for one in addresses:
        _require(_is_unicast(one), f"{name}: {one} is no address of a server")
    return addresses


def _host(host: Host) -> Host:
    _require(_is_unicast(host.address), f"hosts: {host.address} is no address of a host")
    _require(bool(host.names), f"hosts: {host.address} has no name")
    return evolve(host, names=tuple(_domain("hosts", one) for one in host.names))


def _domain(member: str, name: str) -> str:
    _require(is_domain(name), f"{member}: {name!r} is no domain name")
    return name.removesuffix(".")


def _refuse_doubles(what: str, entries: Iterable[Hashable]) -> None:
    for entry, times in Counter(entries).items():
        _require(times == 1, f"{what}: {entry} is there {times} times")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
