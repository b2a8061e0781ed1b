"""What DHCP can't say, one line each, so that nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.identity import Identity, Interface, Resolver
from vmnet.names import is_domain, is_label
from vmnet.wiring import Wiring
from vmnet_dnsmasq.routes import classless

_REMEDY = "VMNET_IPAM=cloudinit carries it"


def uncarried(identity: Identity, wiring: Wiring) -> tuple[str, ...]:
    """The parts of the identity that don't reach the guest, with the remedy where there is one."""
    return tuple(_lines(identity, wiring))


def _lines(identity: Identity, wiring: Wiring) -> Iterator[str]:
    for interface in identity.interfaces:
        if interface.ipv4:
            yield from _of_interface(interface)
    resolver = identity.resolver
    yield from _of_dns(identity, wiring)
    if resolver.options:
        yield f"resolv.conf options: {' '.join(resolver.options)}"
    odd = [name for name in resolver.search if not is_domain(name) and name != "."]
    if odd:
        yield f"search domains that are no valid names: {' '.join(map(repr, odd))}"
    if not is_label(identity.hostname):
        yield f"the host name {identity.hostname!r}, which is not a valid one"
    if wiring.nameserver is not None and not any(port.gateway for port in wiring.ports):
        yield (
            "names that the container's resolver asks outside servers for: no spare address for "
            "the forwarder; name one with VMNET_BRIDGE_ADDRESS, or set VMNET_DNS"
        )


def reachable(resolver: Resolver) -> tuple[IPv4Address | IPv6Address, ...]:
    """The nameservers that a forwarder reaches from the bridge, which speaks IPv4 alone."""
    return tuple(one for one in resolver.nameservers if one.is_loopback or one.version == 4)


def _of_dns(identity: Identity, wiring: Wiring) -> Iterator[str]:
    """What needs a forwarder that the guest, or one that the nameservers, can be reached from."""
    resolver = identity.resolver
    if wiring.nameserver is not None:
        lost = set(resolver.nameservers) - set(reachable(resolver))
    else:
        lost = {one for one in resolver.nameservers if one.is_loopback}
        if identity.hosts:
            names = ", ".join(host.names[0] for host in identity.hosts)
            yield f"names from /etc/hosts ({names}): to serve them takes IPv4"
    for one in sorted(map(str, lost)):
        yield f"nameserver {one}: to forward to it takes IPv4; name others with VMNET_DNS"


def _of_interface(interface: Interface) -> Iterator[str]:
    further = interface.ipv4[1:]
    if further:
        listed = ", ".join(map(str, further))
        yield f"further addresses of {interface.name}: {listed} ({_REMEDY})"
    routes = interface.routes_of(4)
    defaults = sum(route.is_default for route in routes)
    if defaults > 1:
        yield f"all but the first of {defaults} default routes of {interface.name} ({_REMEDY})"
    left_out = len(classless(interface).left_out)
    if left_out:
        yield (
            f"{left_out} of {len(routes)} routes of {interface.name}: option 121 holds 255 bytes "
            f"({_REMEDY})"
        )
    if any(route.metric for route in routes):
        yield f"route metrics of {interface.name} ({_REMEDY})"
    if any(route.mtu for route in routes):
        yield f"route MTUs of {interface.name} ({_REMEDY})"
    ipv6_hops = sum(route.gateway is not None and route.gateway.version == 6 for route in routes)
    if ipv6_hops:
        yield f"{ipv6_hops} IPv4 routes of {interface.name} with an IPv6 gateway ({_REMEDY})"
