"""The parts of an identity that DHCPv4 and the forwarder cannot carry, a line each. Pure functions.

:mod:`vmnet_dnsmasq.ipv6_gaps` lists the gaps of IPv6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from vmnet.api import Identity, Interface, Port, Route, Wiring, is_domain, is_label, shown
from vmnet_dnsmasq import dns_names, options
from vmnet_dnsmasq.routes import CAPACITY, classless

Address = IPv4Address | IPv6Address

IPV4_ONLY = "the forwarder speaks only IPv4"
REMEDY = "use VMNET_IPAM=cloudinit"
_LISTED = 3  # routes in a line
_NO_SPARE = "no spare address for the forwarder"
_SPARE = "set VMNET_BRIDGE_ADDRESS"
_NOT_FORWARDED = f"{IPV4_ONLY} (set other nameservers with VMNET_DNS)"


def gaps(identity: Identity, wiring: Wiring) -> tuple[str, ...]:
    """Return the parts of the identity that do not reach the guest, with the remedy if any.

    If dnsmasq only forwards DNS for another strategy, return only what concerns the forwarder.
    """
    lines = _forwarder_gaps(identity, wiring) if wiring.needs_forwarder else ()
    if not wiring.contain:
        return tuple(lines)
    return (*_lease_gaps(identity, wiring), *_dns_gaps(identity, wiring), *lines)


def _lease_gaps(identity: Identity, wiring: Wiring) -> Iterator[str]:
    for interface, port in wiring.pairs(identity):
        if interface.ipv4:
            several = len(wiring.ports) > 1
            yield from _interface_gaps(interface, own_nameserver(port, wiring), several=several)
    if not is_label(identity.hostname):
        yield f"host name {identity.hostname!r}: not a valid name"
    if identity.domain and not is_domain(identity.domain):
        yield f"domain {identity.domain!r}: not a valid name"


def own_nameserver(port: Port, wiring: Wiring) -> IPv4Address | None:
    """Return the forwarder's address that needs a route, if it is on this port."""
    return wiring.stable_nameserver if wiring.forwards(port) else None


def reachable(nameservers: Iterable[Address]) -> tuple[Address, ...]:
    """Return the nameservers that a forwarder can reach from the bridge, which has only IPv4."""
    return tuple(address for address in nameservers if address.is_loopback or address.version == 4)


def _dns_gaps(identity: Identity, wiring: Wiring) -> Iterator[str]:
    resolver = identity.resolver
    if identity.resolver_options:
        yield f"resolv.conf options: {' '.join(map(shown, identity.resolver_options))}"
    invalid = [name for name in resolver.search if not is_domain(name) and name != "."]
    if invalid:
        yield f"search domains {' '.join(map(repr, invalid))}: not valid names"
    yield from _long_lists(identity, wiring)
    if wiring.nameserver is not None:
        return
    if identity.hosts:
        names = ", ".join(shown(host.names[0]) for host in identity.hosts)
        yield f"names from /etc/hosts ({names}): {_why_no_forwarder(identity)}"
    families = {
        address.version for interface in identity.interfaces for address in interface.addresses
    }
    for address in resolver.nameservers:
        if address.is_loopback:
            yield f"nameserver {address}: {_NOT_FORWARDED}"
        elif address.version not in families:
            yield f"nameserver {address}: the container has no IPv{address.version} address"


def _long_lists(identity: Identity, wiring: Wiring) -> Iterator[str]:
    """Yield the lists that are too long for an option of a DHCPv4 lease."""
    if not any(interface.ipv4 for interface in identity.interfaces):
        return
    search = dns_names.search_domains(identity, serves_hosts=wiring.nameserver is not None)
    yield from _beyond_capacity("search domains", search, options.search_fitting(search))
    lists = {"nameservers": identity.resolver.nameservers, "time servers": identity.ntp}
    if wiring.nameserver is not None:
        del lists["nameservers"]
    for label, addresses in lists.items():
        ipv4 = tuple(address for address in addresses if isinstance(address, IPv4Address))
        yield from _beyond_capacity(label, ipv4, options.servers_fitting(ipv4))


def _beyond_capacity(label: str, items: Sequence[object], count: int) -> Iterator[str]:
    if rest := items[count:]:
        yield (
            f"{len(rest)} of {len(items)} {label}, from {rest[0]} on: a DHCP option holds "
            f"{CAPACITY} bytes ({REMEDY})"
        )


def _why_no_forwarder(identity: Identity) -> str:
    """Return why there is no forwarder, and the remedy."""
    has_ipv4 = any(interface.ipv4 for interface in identity.interfaces)
    if has_ipv4 and reachable(identity.resolver.nameservers):
        return f"{_NO_SPARE} ({_SPARE} or {REMEDY})"
    return f"{IPV4_ONLY} ({REMEDY})"


def _forwarder_gaps(identity: Identity, wiring: Wiring) -> Iterator[str]:
    """Yield the nameservers that a forwarder cannot query.

    It speaks only IPv4, and needs an address to query from.
    """
    resolver = identity.resolver
    for address in resolver.nameservers:
        if address not in reachable(resolver.nameservers):
            yield f"nameserver {address}: {_NOT_FORWARDED}"
    is_cut_off = wiring.nameserver is not None and wiring.nameserver.is_link_local
    if (
        is_cut_off
        and reachable(resolver.nameservers)
        and not any(port.way_out for port in wiring.ports)
    ):
        yield f"names outside the container's networks: {_NO_SPARE} ({_SPARE} or VMNET_DNS)"


def _interface_gaps(
    interface: Interface, nameserver: IPv4Address | None, *, several: bool
) -> Iterator[str]:
    """Yield what a lease of one interface leaves out.

    :param several: whether the guest has other interfaces
    """
    name, routes = interface.name, interface.routes_of(4)
    further = interface.ipv4[1:]
    if further:
        yield f"further addresses of {name}: {', '.join(map(str, further))} ({REMEDY})"
    option = classless(interface, nameserver)
    if option.outranked:
        listed = ", ".join(map(_described, option.outranked[:_LISTED]))
        more = len(option.outranked) - _LISTED
        rest = f" and {more} more" if more > 0 else ""
        yield f"less preferred routes of {name}: {listed}{rest} ({REMEDY})"
    if option.left_out:
        yield (
            f"{len(option.left_out)} of {len(routes)} routes of {name}: "
            f"option 121 holds {CAPACITY} bytes ({REMEDY})"
        )
    # Without another route to choose, as on Podman's default network, a metric has no effect.
    if (several or option.outranked) and any(route.metric for route in routes):
        yield f"route metrics of {name} ({REMEDY})"
    if any(route.mtu not in (None, interface.guest_mtu) for route in routes):
        yield f"route MTUs of {name} ({REMEDY})"
    if any(route.source not in (None, interface.ipv4[0].ip) for route in routes):
        yield f"source addresses of routes of {name} ({REMEDY})"
    ipv6_hops = sum(route.gateway is not None and route.gateway.version == 6 for route in routes)
    if ipv6_hops:
        yield f"{ipv6_hops} IPv4 routes of {name} with an IPv6 gateway"


def _described(route: Route) -> str:
    via = f" via {route.gateway}" if route.gateway else ""
    return f"{route.destination}{via}"
