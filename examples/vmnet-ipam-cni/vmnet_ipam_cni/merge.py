"""What was allocated takes the place of what the container had."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from attrs import evolve

from vmnet.api import Identity, Interface, Resolver, Route
from vmnet_ipam_cni.result import Hop, Names, Result

_log = logging.getLogger(__name__)


def merge(identity: Identity, results: Mapping[str, Result]) -> Identity:
    """The identity with what was allocated for some of its interfaces, by their names.

    :raises ValueError: an address is allocated twice, or another interface has it
    """
    interfaces = tuple(
        _interface(one, results[one.name]) if one.name in results else one
        for one in identity.interfaces
    )
    _refuse_conflicts(interfaces)
    return _names(evolve(identity, interfaces=interfaces), [one.dns for one in results.values()])


def _interface(own: Interface, result: Result) -> Interface:
    """Its addresses and routes; MAC and MTU stay the container's."""
    addresses = tuple(one.address for one in result.addresses)
    routes = tuple(dict.fromkeys(_routes(own.name, result)))
    for version in {one.version for one in addresses}:
        if not any(one.is_default and one.destination.version == version for one in routes):
            _log.info("%s: no IPv%d default route was allocated", own.name, version)
    return evolve(own, addresses=addresses, routes=routes, router=None)


def _routes(name: str, result: Result) -> Iterator[Route]:
    for hop in result.routes:
        version = hop.destination.version
        if not any(one.address.version == version for one in result.addresses):
            _log.info(
                "%s: the route to %s is left out: no IPv%d address was allocated",
                name,
                hop.destination,
                version,
            )
            continue
        gateway = _gateway(hop, result)
        yield Route(hop.destination, gateway, _is_far(gateway, result), hop.metric, mtu=hop.mtu)


def _gateway(hop: Hop, result: Result) -> IPv4Address | IPv6Address | None:
    """Its own, or that of the first address of its family which has one."""
    if hop.gateway is not None or hop.is_link:
        return hop.gateway
    version = hop.destination.version
    gateways = (one.gateway for one in result.addresses if one.address.version == version)
    return next((one for one in gateways if one is not None), None)


def _is_far(gateway: IPv4Address | IPv6Address | None, result: Result) -> bool:
    """Whether it lies outside every subnet: it is then reached on the link all the same."""
    if gateway is None or (gateway.version == 6 and gateway.is_link_local):
        return False
    return not any(gateway in one.address.network for one in result.addresses)


def _refuse_conflicts(interfaces: tuple[Interface, ...]) -> None:
    owner: dict[IPv4Address | IPv6Address, str] = {}
    for interface in interfaces:
        for address in interface.addresses:
            if address.ip in owner:
                other = owner[address.ip]
                raise ValueError(f"{address.ip} would be {interface.name}'s and {other}'s")
            owner[address.ip] = interface.name
    for interface in interfaces:
        for route in interface.routes:
            if route.gateway in owner:
                raise ValueError(
                    f"{route.gateway} would be {owner[route.gateway]}'s, and is the gateway to "
                    f"{route.destination}"
                )


def _names(identity: Identity, told: list[Names]) -> Identity:
    """Each part that was told replaces the container's; the others stay."""
    servers = tuple(dict.fromkeys(server for one in told for server in one.nameservers))
    domain = next((one.domain for one in told if one.domain), "")
    search = tuple(dict.fromkeys(name for one in told for name in one.search))
    options = tuple(dict.fromkeys(option for one in told for option in one.options))
    own = identity.resolver
    resolver = Resolver(
        servers or own.nameservers,
        search or ((domain,) if domain else own.search),
        options or own.options,
    )
    return evolve(identity, domain=domain.rstrip(".") or identity.domain, resolver=resolver)
