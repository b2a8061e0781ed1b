"""passt's command line, from the identity (passt(1)). Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from vmnet.api import Identity, Interface, frozen, is_domain, is_label
from vmnet.strategies.passt import ports
from vmnet.strategies.passt.ports import Ports

# Options that older releases lack; `passt --help` lists the options.
HOSTNAME, DNS_HOST = "--hostname", "--dns-host"
MAX_NAMESERVERS, MAX_SEARCH = 3, 6  # of each family: MAXNS and MAXDNSRCH of resolver(5)
_MAX_PREFIX = 30  # longer prefixes have no further address for a router
# A router for the guest where the container has none. passt answers for it.
_ROUTER4, _ROUTER6 = "169.254.2.2", "fe80::1"


@frozen
class Paths:
    """The files of passt. The folder is its own, because passt creates a socket in it."""

    folder: Path
    socket: Path
    pidfile: Path
    log: Path

    @classmethod
    def below(cls, run_dir: Path, number: int = 0) -> Paths:
        """Return the files for an interface, by its position in the identity."""
        folder = run_dir / f"passt{number or ''}"
        return cls(folder, folder / "passt.sock", folder / "passt.pid", folder / "passt.log")


@frozen
class Link:
    """The link that passt gives the guest.

    :param mac: the MAC of passt's end
    :param forwards: the address at which passt forwards DNS queries to the container's own
        resolver; None if the guest asks the nameservers itself
    :param listen: the address or interface of the sockets for ``ports``; empty for all
    :param serves: whether passt answers DHCP, DHCPv6 and router solicitations
    :param options: the options that this release of passt has
    :param user: the user and group that passt runs as
    """

    mac: str
    forwards: IPv4Address | None
    ports: Ports
    listen: str
    serves: bool
    options: frozenset[str]
    user: tuple[int, int]


def arguments(identity: Identity, interface: Interface, link: Link, paths: Paths) -> Iterator[str]:
    """Yield passt's arguments, without the program."""
    yield from ("--quiet", "--socket", str(paths.socket), "--pid", str(paths.pidfile))
    yield from ("--log-file", str(paths.log))
    yield from ("--runas", f"{link.user[0]}:{link.user[1]}")
    yield from ("--interface", interface.name, "--mac-addr", link.mac)
    yield from ("--mtu", str(interface.guest_mtu))
    yield "--no-map-gw"
    if interface.ipv4:
        first = interface.ipv4[0]
        yield from ("--address", str(first.ip), "--netmask", str(first.network.prefixlen))
        yield from ("--gateway", _gateway(interface))
    if interface.ipv6:
        yield from ("--address", str(interface.ipv6[0].ip), "--gateway", _router(interface))
    if not interface.ipv6:
        yield "--ipv4-only"
    if not interface.ipv4:
        yield "--ipv6-only"
    if link.serves:
        yield from _names(identity, link)
    else:
        yield from ("--no-dhcp", "--no-dhcpv6", "--no-ra")
    yield from ("--tcp-ports", ports.option(link.ports.tcp, link.ports.weak, link.listen))
    yield from ("--udp-ports", ports.option(link.ports.udp, link.ports.weak, link.listen))


def listen(interface: Interface, options: frozenset[str]) -> str:
    """Return where passt listens so that only connections to an interface's addresses arrive.

    An older release can listen at an address of one family.
    """
    if interface.ipv4 and interface.ipv6 and DNS_HOST in options:
        return f"%{interface.name}"
    return str((interface.ipv4 or interface.ipv6)[0].ip)


def _gateway(interface: Interface) -> str:
    """Return the IPv4 gateway. Without it, passt does not answer DHCP."""
    route = interface.default_route(4)
    if route is not None and isinstance(route.gateway, IPv4Address):
        return str(route.gateway)
    return _substitute(interface.ipv4[0])


def _substitute(own: IPv4Interface) -> str:
    """Return an address of the subnet, because older releases widen the prefix to the gateway's."""
    if own.network.prefixlen > _MAX_PREFIX:
        return _ROUTER4
    first = own.network.network_address + 1
    return str(first if first != own.ip else first + 1)


def _router(interface: Interface) -> str:
    """Return the link-local address of the IPv6 gateway.

    Without it, passt sends router advertisements from the container's link-local address, which is
    usually the guest's, too.
    """
    router = interface.router
    own = router and (router.gateway if router.gateway.is_link_local else router.address)
    return str(own or _ROUTER6)


def _names(identity: Identity, link: Link) -> Iterator[str]:
    servers = identity.resolver.nameservers
    reachable = [server for server in servers if not server.is_loopback]
    if link.forwards is not None:
        resolver = next(server for server in servers if server.is_loopback)
        yield from ("--dns-forward", str(link.forwards), DNS_HOST, str(resolver))
        yield from ("--dns", str(link.forwards))
    for server in reachable[:MAX_NAMESERVERS]:
        yield from ("--dns", str(server))
    if link.forwards is None and not reachable:
        yield "--no-dhcp-dns"
    search = tuple(filter(is_domain, identity.resolver.search))[:MAX_SEARCH]
    for domain in search:
        yield from ("--search", domain)
    if not search:
        yield "--no-dhcp-search"
    if HOSTNAME in link.options and is_label(identity.hostname):
        yield from (HOSTNAME, identity.hostname)
