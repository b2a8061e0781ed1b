"""The parts of the identity that passt cannot hand over."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Identity, Interface, is_domain, is_label, shown
from vmnet.strategies.passt import arguments, ports, sysctls
from vmnet.strategies.passt.arguments import HOSTNAME, Link


def of_identity(
    identity: Identity, interface: Interface, link: Link, *, seeded: bool
) -> Iterator[str]:
    """Yield what does not reach the guest.

    :param seeded: whether another strategy hands over the names as well
    """
    name = interface.name
    yield "protocols other than TCP, UDP and outgoing ping; multicast and broadcast"
    yield f"pings from the network, which the container answers, and frames of {name} itself"
    if sysctls.ping_groups()[0] > sysctls.ping_groups()[1]:
        yield "outgoing ping: no group may send it (sysctl net.ipv4.ping_group_range)"
    for family in (interface.ipv4, interface.ipv6):
        if family[1:]:
            yield f"further addresses of {name}: {', '.join(map(str, family[1:]))}"
    if interface.ipv4 and interface.default_route(4) is None:
        yield f"the lack of a default route: the guest gets one through {name}"
    if interface.ipv6 and interface.default_route(6) is None:
        yield f"the lack of an IPv6 default route: the guest gets one through {name}"
    resolver = identity.resolver
    if resolver.is_local and link.forwards is None:
        yield "the container's own resolver: this passt cannot forward to it (set VMNET_DNS)"
    for version in (4, 6):
        servers = [s for s in resolver.nameservers if s.version == version and not s.is_loopback]
        if more := servers[arguments.MAX_NAMESERVERS :]:
            yield f"nameservers {', '.join(map(str, more))}: passt hands over three"
    if seeded:
        return
    valid = tuple(filter(is_domain, resolver.search))
    if invalid := [name for name in resolver.search if name not in valid and name != "."]:
        yield f"search domains {' '.join(map(repr, invalid))}: not valid names"
    if more_domains := valid[arguments.MAX_SEARCH :]:
        yield f"search domains {' '.join(more_domains)}: passt hands over six"
    if identity.resolver_options:
        yield f"resolv.conf options: {' '.join(map(shown, identity.resolver_options))}"
    if identity.hosts:
        names = ", ".join(shown(host.names[0]) for host in identity.hosts)
        yield f"names from /etc/hosts ({names}): use VMNET_IPAM=cloudinit"
    if identity.ntp:
        yield "time servers: use VMNET_IPAM=cloudinit"
    if HOSTNAME not in link.options:
        yield "host name: this passt cannot hand it over"
    elif not is_label(identity.hostname):
        yield f"host name {identity.hostname!r}: not a valid name"
    if identity.domain:
        yield f"domain {shown(identity.domain)}: use VMNET_IPAM=cloudinit"


def of_ports(identity: Identity, interface: Interface, link: Link) -> Iterator[str]:
    """Yield which connections do not reach the guest."""
    chosen = link.ports
    last = chosen.tcp[-1][1] if chosen.tcp else 0
    if chosen.weak and last < ports.LAST:
        yield f"connections to ports above {last}: list the guest's ports in VMNET_PASST_PORTS"
    if chosen.weak and sysctls.first_port() > 1:
        yield f"connections to ports below {sysctls.first_port()}: {sysctls.allow_ports()}"
    if taken := ports.occupied(chosen, identity.listening):
        listed = ", ".join(map(str, taken))
        yield f"connections to {listed}, on which programs of the container listen"
    if interface.ipv4 and interface.ipv6 and link.listen == str(interface.ipv4[0].ip):
        yield f"IPv6 connections to {interface.name}: this passt listens at one address only"
