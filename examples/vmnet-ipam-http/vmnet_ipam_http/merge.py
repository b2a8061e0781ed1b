"""Merge the service's answer into the captured identity.

Parts that the answer omits stay as captured. The result must be consistent. This module checks it,
because otherwise the guest would just be unreachable.
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
    """Return the captured identity with the parts of the answer.

    :raises ValueError: the answer or the resulting identity is inconsistent
    """
    changes: dict[str, Any] = {}
    if answer.interfaces is not None:
        changes["interfaces"] = _interfaces(identity, answer.interfaces)
    if answer.hostname is not None:
        _require(is_label(answer.hostname), f"hostname: {answer.hostname!r} is not a host name")
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
        search = tuple(_domain("search", domain) for domain in answer.search)
        _refuse_duplicates("search", search)
        resolver = evolve(resolver, search=search)
    return evolve(identity, resolver=resolver, **changes)


def _interfaces(identity: Identity, answers: Sequence[InterfaceAnswer]) -> tuple[Interface, ...]:
    _refuse_duplicates("interfaces", (answer.name for answer in answers))
    known = [interface.name for interface in identity.interfaces]
    for answer in answers:
        _require(
            answer.name in known,
            f"interfaces: there is no {answer.name!r}, only {', '.join(known)}",
        )
    by_name = {answer.name: answer for answer in answers}
    merged = tuple(
        _interface(captured, by_name[captured.name]) if captured.name in by_name else captured
        for captured in identity.interfaces
    )
    if any(answer.addresses is not None for answer in answers):
        _refuse_duplicates(
            "addresses", (address.ip for interface in merged for address in interface.addresses)
        )
    return merged


def _interface(captured: Interface, answer: InterfaceAnswer) -> Interface:
    if answer.addresses is None and answer.routes is None:
        return captured
    addresses = captured.addresses
    if answer.addresses is not None:
        for address in answer.addresses:
            _require(_is_host_address(address), f"{captured.name}: {address} is not a host address")
        addresses = answer.addresses
    if answer.routes is None:
        own = {address.ip for address in addresses}
        routes = tuple(
            route if route.source in own else evolve(route, source=None)
            for route in captured.routes
        )
        changed = evolve(captured, addresses=addresses, routes=routes)
        _check_routes(_unreachable, changed, ", as captured: new addresses need new routes, too")
    else:
        changed = evolve(captured, addresses=addresses, routes=answer.routes)
        _refuse_duplicates(
            f"routes of {captured.name}",
            (f"{route.destination} of metric {route.metric}" for route in answer.routes),
        )
        _check_routes(_malformed, changed)
        _check_routes(_unreachable, changed)
    return evolve(
        changed,
        routes=tuple(
            evolve(route, onlink=route.onlink and _is_off_link(route, changed))
            for route in changed.routes
        ),
        router=_known_router(changed),
    )


def _known_router(interface: Interface) -> Router | None:
    """Return the captured router if it is still a gateway; otherwise vmnet finds the new router."""
    router = interface.router
    gateways = {route.gateway for route in interface.routes}
    return router if router and router.gateway in gateways else None


def _check_routes(
    find_fault: Callable[[Route, Interface], str], interface: Interface, remark: str = ""
) -> None:
    for route in interface.routes:
        if fault := find_fault(route, interface):
            via = f" via {route.gateway}" if route.gateway else ""
            raise ValueError(
                f"{interface.name}: route to {route.destination}{via}: {fault}{remark}"
            )


def _is_host_address(address: IPv4Interface | IPv6Interface) -> bool:
    """Return whether a host can have this address in its subnet."""
    network = address.network
    if network.prefixlen == 0 or not _is_unicast(address.ip) or address.ip.is_link_local:
        return False
    if isinstance(network, IPv4Network) and network.prefixlen < 31:
        return address.ip not in (network.network_address, network.broadcast_address)
    return True


def _is_unicast(address: Address) -> bool:
    """Return whether another machine can have this address."""
    if isinstance(address, IPv6Address):
        special = address.ipv4_mapped is not None
    else:
        special = address.is_reserved or address in _THIS_NETWORK
    return not (special or address.is_unspecified or address.is_loopback or address.is_multicast)


def _malformed(route: Route, interface: Interface) -> str:
    """Return why no guest can have this route; empty if a guest can."""
    gateway, own = route.gateway, {address.ip for address in interface.addresses}
    if route.destination.is_multicast or route.destination.is_loopback:
        return "the destination is multicast or loopback"
    if route.mtu is not None and not 68 <= route.mtu <= 65535:
        return f"the mtu {route.mtu} is not from 68 to 65535"
    if route.source is not None and route.source not in own:
        return f"the source {route.source} is not an address of {interface.name}"
    if gateway is None:
        return "onlink needs a gateway" if route.onlink else ""
    if gateway.version != route.destination.version:
        return "the gateway has the other IP version"
    if not _is_unicast(gateway) or gateway in own:
        return "the gateway is not another machine"
    return ""


def _unreachable(route: Route, interface: Interface) -> str:
    """Return why this guest can't use the route; empty if it can."""
    version = route.destination.version
    if not any(address.version == version for address in interface.addresses):
        return f"{interface.name} has no IPv{version} address"
    if _is_off_link(route, interface) and not (route.onlink or _is_covered(route, interface)):
        return "the gateway is in no subnet of the interface, and the route is not onlink"
    return ""


def _is_off_link(route: Route, interface: Interface) -> bool:
    return route.gateway is not None and not interface.is_neighbour(route.gateway)


def _is_covered(route: Route, interface: Interface) -> bool:
    """Return whether an on-link route leads to the gateway."""
    return any(
        route.gateway in other.destination
        for other in interface.routes
        if other.gateway is None and not other.is_default
    )


def _servers(name: str, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Check the addresses of servers. A loopback address would mean the guest itself."""
    _refuse_duplicates(name, addresses)
    for address in addresses:
        _require(_is_unicast(address), f"{name}: {address} is not the address of a server")
    return addresses


def _host(host: Host) -> Host:
    _require(_is_unicast(host.address), f"hosts: {host.address} is not a host address")
    _require(bool(host.names), f"hosts: {host.address} has no name")
    return evolve(host, names=tuple(_domain("hosts", name) for name in host.names))


def _domain(member: str, name: str) -> str:
    _require(is_domain(name), f"{member}: {name!r} is not a domain name")
    return name.removesuffix(".")


def _refuse_duplicates(member: str, entries: Iterable[Hashable]) -> None:
    for entry, count in Counter(entries).items():
        _require(count == 1, f"{member}: {entry} occurs {count} times")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
