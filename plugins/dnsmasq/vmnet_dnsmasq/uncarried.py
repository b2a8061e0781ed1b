"""What DHCP can't say, one line each, so that nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from vmnet.identity import Identity, Interface, Route
from vmnet.names import is_domain, is_label, shown
from vmnet.wiring import Port, Wiring
from vmnet_dnsmasq import options, searched
from vmnet_dnsmasq.routes import classless

Address = IPv4Address | IPv6Address

_REMEDY = "VMNET_IPAM=cloudinit carries it"
_LISTED = 3
_NAME_ONE = "name one with VMNET_BRIDGE_ADDRESS"
_NOT_FORWARDED = "to forward to it takes IPv4; name others with VMNET_DNS"


def uncarried(identity: Identity, wiring: Wiring) -> tuple[str, ...]:
    """The parts of the identity that don't reach the guest, with the remedy where there is one.

    Where another strategy hands them over and we only forward DNS, those that have to do with that.
    """
    lines = _of_forwarder(identity, wiring) if wiring.nameserver else ()
    if not wiring.contain:
        return tuple(lines)
    return (*_of_leases(identity, wiring), *_of_dns(identity, wiring), *lines)


def _of_leases(identity: Identity, wiring: Wiring) -> Iterator[str]:
    for interface, port in zip(identity.interfaces, wiring.ports, strict=True):
        if interface.ipv4:
            yield from _of_interface(interface, own_nameserver(port, wiring))
    if not is_label(identity.hostname):
        yield f"the host name {identity.hostname!r}, which is not a valid one"


def own_nameserver(port: Port, wiring: Wiring) -> IPv4Address | None:
    """The forwarder's address that takes a route, if it is this port's bridge that has it."""
    return wiring.stable_nameserver if wiring.nameserver == port.bridge_address.ip else None


def reachable(nameservers: Iterable[Address]) -> tuple[Address, ...]:
    """The nameservers that a forwarder reaches from the bridge, which speaks IPv4 alone."""
    return tuple(one for one in nameservers if one.is_loopback or one.version == 4)


def _of_dns(identity: Identity, wiring: Wiring) -> Iterator[str]:
    resolver = identity.resolver
    if identity.resolver_options:
        yield f"resolv.conf options: {' '.join(map(shown, identity.resolver_options))}"
    odd = [name for name in resolver.search if not is_domain(name) and name != "."]
    if odd:
        yield f"search domains that are no valid names: {' '.join(map(repr, odd))}"
    yield from _cut(identity, wiring)
    if wiring.nameserver is not None:
        return
    if identity.hosts:
        names = ", ".join(shown(host.names[0]) for host in identity.hosts)
        yield f"names from /etc/hosts ({names}): {_obstacle(identity)} ({_REMEDY})"
    families = {address.version for one in identity.interfaces for address in one.addresses}
    for address in resolver.nameservers:
        if address.is_loopback:
            yield f"nameserver {address}: {_NOT_FORWARDED}"
        elif address.version not in families:
            yield f"nameserver {address}: the container has no IPv{address.version} address"


def _cut(identity: Identity, wiring: Wiring) -> Iterator[str]:
    """What is too long for an option of a DHCPv4 lease."""
    if not any(interface.ipv4 for interface in identity.interfaces):
        return
    search = searched.domains(identity, serves_hosts=wiring.nameserver is not None)
    yield from _beyond("search domains", search, options.search_fitting(search))
    lists = {"nameservers": identity.resolver.nameservers, "time servers": identity.ntp}
    if wiring.nameserver is not None:
        del lists["nameservers"]
    for what, given in lists.items():
        ipv4 = tuple(address for address in given if isinstance(address, IPv4Address))
        yield from _beyond(what, ipv4, options.servers_fitting(ipv4))


def _beyond(what: str, given: Sequence[object], count: int) -> Iterator[str]:
    if rest := given[count:]:
        yield (
            f"{len(rest)} of {len(given)} {what}, from {rest[0]} on: a DHCP option holds "
            f"{options.CAPACITY} bytes ({_REMEDY})"
        )


def _obstacle(identity: Identity) -> str:
    """Why there is no forwarder."""
    has_ipv4 = any(one.ipv4 for one in identity.interfaces)
    if has_ipv4 and reachable(identity.resolver.nameservers):
        return f"no spare address for a forwarder; {_NAME_ONE}"
    return "to serve them takes IPv4"


def _of_forwarder(identity: Identity, wiring: Wiring) -> Iterator[str]:
    """What a forwarder can't ask: it speaks IPv4, and needs an address to ask from."""
    resolver = identity.resolver
    for address in resolver.nameservers:
        if address not in reachable(resolver.nameservers):
            yield f"nameserver {address}: {_NOT_FORWARDED}"
    is_cut_off = wiring.nameserver is not None and wiring.nameserver.is_link_local
    if (
        is_cut_off
        and reachable(resolver.nameservers)
        and not any(port.gateway for port in wiring.ports)
    ):
        yield (
            "names that the container's resolver asks outside servers for: no spare address for "
            f"the forwarder; {_NAME_ONE}, or set VMNET_DNS"
        )


def _of_interface(interface: Interface, nameserver: IPv4Address | None) -> Iterator[str]:
    name, routes = interface.name, interface.routes_of(4)
    further = interface.ipv4[1:]
    if further:
        yield f"further addresses of {name}: {', '.join(map(str, further))} ({_REMEDY})"
    said = classless(interface, nameserver)
    if said.outranked:
        listed = ", ".join(map(_named, said.outranked[:_LISTED]))
        more = len(said.outranked) - _LISTED
        others = f" and {more} more" if more > 0 else ""
        yield f"routes of {name} beside a better one: {listed}{others} ({_REMEDY})"
    if said.left_out:
        yield (
            f"{len(said.left_out)} of {len(routes)} routes of {name}: option 121 holds 255 bytes "
            f"({_REMEDY})"
        )
    if any(route.metric for route in routes):
        yield f"route metrics of {name} ({_REMEDY})"
    if any(route.mtu for route in routes):
        yield f"route MTUs of {name} ({_REMEDY})"
    if any(route.source not in (None, interface.ipv4[0].ip) for route in routes):
        yield f"source addresses of routes of {name} ({_REMEDY})"
    ipv6_hops = sum(route.gateway is not None and route.gateway.version == 6 for route in routes)
    if ipv6_hops:
        yield f"{ipv6_hops} IPv4 routes of {name} with an IPv6 gateway"


def _named(route: Route) -> str:
    via = f" via {route.gateway}" if route.gateway else ""
    return f"{route.destination}{via}"
