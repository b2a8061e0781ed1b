"""Merge the allocations into the captured identity."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from attrs import evolve

from vmnet.api import Identity, Interface, Resolver, Route
from vmnet_ipam_cni.result import Hop, Names, Result

_log = logging.getLogger(__name__)


def merge(identity: Identity, results: Mapping[str, Result]) -> Identity:
    """Return the identity with the results, which are keyed by interface.

    :raises ValueError: two interfaces would have the same address, or that of a gateway
    """
    interfaces = tuple(
        _interface(interface, results[interface.name]) if interface.name in results else interface
        for interface in identity.interfaces
    )
    _refuse_conflicts(interfaces)
    merged = evolve(identity, interfaces=interfaces)
    return _names(merged, [result.dns for result in results.values()])


def _interface(captured: Interface, result: Result) -> Interface:
    """Replace addresses and routes; keep the container's MAC and MTU."""
    addresses = tuple(allocated.address for allocated in result.addresses)
    interface = evolve(captured, addresses=addresses, routes=(), router=None)
    routes = tuple(dict.fromkeys(_routes(interface, result)))
    for version in {address.version for address in addresses}:
        if not any(route.is_default and route.destination.version == version for route in routes):
            _log.info("%s: no IPv%d default route was allocated", captured.name, version)
    return evolve(interface, routes=routes)


def _routes(interface: Interface, result: Result) -> Iterator[Route]:
    for hop in result.routes:
        version = hop.destination.version
        if not any(allocated.address.version == version for allocated in result.addresses):
            _log.info(
                "%s: the route to %s is dropped, because no IPv%d address was allocated",
                interface.name,
                hop.destination,
                version,
            )
            continue
        gateway = _gateway(hop, result)
        onlink = gateway is not None and not interface.is_neighbour(gateway)
        yield Route(hop.destination, gateway, onlink, hop.metric, mtu=hop.mtu)


def _gateway(hop: Hop, result: Result) -> IPv4Address | IPv6Address | None:
    """Return the gateway of the route, or of the first address of its IP version with a gateway."""
    if hop.gateway is not None or hop.is_link:
        return hop.gateway
    version = hop.destination.version
    gateways = (
        allocated.gateway for allocated in result.addresses if allocated.address.version == version
    )
    return next((gateway for gateway in gateways if gateway is not None), None)


def _refuse_conflicts(interfaces: tuple[Interface, ...]) -> None:
    owner: dict[IPv4Address | IPv6Address, str] = {}
    for interface in interfaces:
        for address in interface.addresses:
            if address.ip in owner:
                raise ValueError(
                    f"{address.ip} would belong to {interface.name} and {owner[address.ip]}"
                )
            owner[address.ip] = interface.name
    for interface in interfaces:
        for route in interface.routes:
            if route.gateway in owner:
                raise ValueError(
                    f"{route.gateway} would belong to {owner[route.gateway]}, but is the gateway "
                    f"to {route.destination}"
                )


def _names(identity: Identity, sections: list[Names]) -> Identity:
    """Replace the parts of the resolver that the results contain; keep the other parts."""
    servers = tuple(dict.fromkeys(server for dns in sections for server in dns.nameservers))
    domain = next((dns.domain for dns in sections if dns.domain), "")
    search = tuple(dict.fromkeys(name for dns in sections for name in dns.search))
    options = tuple(dict.fromkeys(option for dns in sections for option in dns.options))
    captured = identity.resolver
    resolver = Resolver(
        servers or captured.nameservers,
        search or ((domain,) if domain else captured.search),
        options or captured.options,
    )
    return evolve(identity, domain=domain.rstrip(".") or identity.domain, resolver=resolver)
