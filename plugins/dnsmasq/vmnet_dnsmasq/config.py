"""An identity as dnsmasq's configuration. Pure functions; dnsmasq(8) explains each option."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from attrs import evolve

from vmnet.identity import Host, Identity, Interface
from vmnet.names import is_domain, is_label
from vmnet.noun import Noun, noun
from vmnet.wiring import Port, Wiring
from vmnet_dnsmasq import options, searched
from vmnet_dnsmasq.options import Option, quoted
from vmnet_dnsmasq.routes import Pair, classless, gateway_of
from vmnet_dnsmasq.uncarried import own_nameserver, reachable, uncarried

# DHCP options (RFC 2132, RFC 3442), and a message's type
_MESSAGE_TYPE, _REQUESTED, _CLASSLESS, _DECLINE = 53, 55, 121, 4


@noun
class Paths(Noun):
    """Where dnsmasq finds and leaves its files."""

    config: Path
    hosts: Path
    servers: Path
    leases: Path
    pidfile: Path
    log: Path

    @classmethod
    def below(cls, run_dir: Path) -> Paths:
        return cls(
            config=run_dir / "dnsmasq.conf",
            hosts=run_dir / "dnsmasq.hosts",
            servers=run_dir / "dnsmasq.servers",
            leases=run_dir / "dnsmasq.leases",
            pidfile=run_dir / "dnsmasq.pid",
            log=run_dir / "dnsmasq.log",
        )


@noun
class Lease(Noun):
    """What one NIC of the guest is told.

    :param classless: destination and gateway pairs of option 121 (RFC 3442); empty if option 3 says
        it all
    """

    tag: str
    bridge: str
    mac: str
    address: IPv4Interface
    mtu: int
    router: IPv4Address | None
    classless: tuple[Pair, ...]


@noun
class Service(Noun):
    """All that dnsmasq is to do.

    :param nameservers: what the guest is told to ask
    :param stable_nameserver: the forwarder's link-local address, for a guest that takes the route
        to it; None where the guest is told no other
    :param upstream: where dnsmasq forwards to; None where it serves no DNS
    """

    leases: tuple[Lease, ...]
    bridges: tuple[str, ...]
    hostname: str
    domain: str
    search: tuple[str, ...]
    nameservers: tuple[IPv4Address, ...]
    stable_nameserver: IPv4Address | None
    upstream: tuple[str, ...] | None
    hosts: tuple[Host, ...]
    ntp: tuple[IPv4Address, ...]
    not_carried: tuple[str, ...]

    @classmethod
    def of(cls, identity: Identity, wiring: Wiring) -> Service:
        dns = wiring.nameserver
        own = searched.domains(identity, serves_hosts=False)
        search = searched.domains(identity, serves_hosts=dns is not None)
        domain = identity.domain if is_domain(identity.domain) else ""
        served = [
            (interface, port)
            for interface, port in zip(identity.interfaces, wiring.ports, strict=True)
            if wiring.contain and interface.ipv4
        ]
        made = cls(
            leases=tuple(
                _lease(interface, port, own_nameserver(port, wiring)) for interface, port in served
            ),
            bridges=tuple(
                port.bridge
                for port in wiring.ports
                if port.bridge_address.ip == dns or any(port is one for _, one in served)
            ),
            hostname=identity.hostname if is_label(identity.hostname) else "",
            domain=domain or (own[0] if own else ""),
            search=search[: options.search_fitting(search)],
            nameservers=(dns,) if dns else _servers(identity.resolver.nameservers),
            stable_nameserver=None if wiring.stable_nameserver == dns else wiring.stable_nameserver,
            upstream=tuple(map(str, reachable(identity.resolver.nameservers))) if dns else None,
            hosts=servable(identity.hosts),
            ntp=_servers(identity.ntp),
            not_carried=uncarried(identity, wiring),
        )
        too_much = tuple(_too_much(made, [interface.name for interface, _ in served]))
        return evolve(made, not_carried=made.not_carried + too_much)

    @property
    def is_needed(self) -> bool:
        """Whether there is anything for dnsmasq to do."""
        return bool(self.leases) or self.upstream is not None


def serves_dns(identity: Identity) -> bool:
    """Whether the guest needs us as its nameserver, and can have us.

    A resolver on loopback is out of the guest's reach, and the names of links are in no DNS. But
    the bridge speaks IPv4 alone: a guest without it can't ask there, and nameservers without it
    can't be asked from there.
    """
    resolver = identity.resolver
    needed = resolver.is_local or bool(identity.hosts)
    cut_off = resolver.nameservers and not reachable(resolver.nameservers)
    return needed and not cut_off and any(one.ipv4 for one in identity.interfaces)


def render(service: Service, paths: Paths) -> str:
    """dnsmasq.conf.

    Plain text from lines: every value in it is an address, a number, a quoted path, or a name that
    :mod:`vmnet.names` has let through and :mod:`vmnet_dnsmasq.options` has made unmistakable. A
    template engine takes longer to import than all the rest of a start (see bench/start).
    """
    return "\n".join(_lines(service, paths)) + "\n"


def _lines(service: Service, paths: Paths) -> Iterator[str]:
    yield "# Written by vmnet: the DHCP and DNS server of one virtual machine."
    yield from ("no-resolv", "no-hosts", "bind-interfaces", "except-interface=lo")
    yield from (f"interface={bridge}" for bridge in service.bridges)
    yield f"pid-file={quoted(paths.pidfile)}"
    yield f"log-facility={quoted(paths.log)}"
    if service.upstream is None:
        yield "port=0"
    else:
        yield f"addn-hosts={quoted(paths.hosts)}"
        yield f"local=/{searched.DOMAIN}/"
        # As libc does: nothing remembered, since services come and move, and one after the other.
        yield from ("cache-size=0", "strict-order")
        yield f"servers-file={quoted(paths.servers)}"
    if service.leases:
        yield from ("", "# Answer this guest and nobody else, and at once.")
        yield from ("dhcp-authoritative", "dhcp-ignore=tag:!known", "no-ping")
        # To unicast to an address that the client has not taken yet, dnsmasq writes a neighbour
        # entry (arp(7)), in place of the bridge's permanent one.
        yield "dhcp-broadcast"
        yield f"dhcp-leasefile={quoted(paths.leases)}"
        # A client that declines the address gets it again at once, and not after ten minutes:
        # dnsmasq disables the address of the dhcp-host that matches the message.
        yield f"dhcp-match=set:decline,{_MESSAGE_TYPE},{_DECLINE}b"
        if service.stable_nameserver is not None:
            yield f"dhcp-match=set:classless,{_REQUESTED},{_CLASSLESS}b"
    for lease in service.leases:
        yield ""
        yield from _lease_lines(lease, service)


def _lease_lines(lease: Lease, service: Service) -> Iterator[str]:
    address = lease.address
    # The bridge need not have an address of the lease's subnet, and may lose one that it has.
    yield f"shared-network={lease.bridge},{address.ip}"
    yield f"dhcp-range={address.ip},static,{address.netmask},infinite"
    name = options.host_name(service.hostname) if service.hostname else ""
    names = (name,) if name else ()
    words = (lease.mac, "tag:!decline", f"set:{lease.tag}", str(address.ip), *names, "infinite")
    yield f"dhcp-host={','.join(words)}"
    # dnsmasq sends the last one first, and leaves out what a small packet has no room for.
    for option in reversed(tuple(_options(lease, service))):
        parts = (f"tag:{lease.tag}", option.tag, option.code, option.value)
        yield f"dhcp-option={','.join(filter(None, parts))}"


def _options(lease: Lease, service: Service) -> Iterator[Option]:
    """A lease's options, those first that a guest can do least without."""
    # An option without a value keeps dnsmasq from naming itself.
    yield options.addresses("router", [lease.router] if lease.router else [], "gateway")
    if lease.classless:
        yield options.routes(str(_CLASSLESS), lease.classless, "routes")
    if service.stable_nameserver is not None:
        # A client that asks for routes takes the one to an address that nobody can claim.
        stable = options.addresses("dns-server", [service.stable_nameserver], "nameservers")
        yield evolve(stable, tag="tag:classless")
    yield options.addresses("dns-server", service.nameservers, "nameservers")
    yield options.mtu(lease.mtu)
    if service.hostname:
        yield from options.own_name(service.hostname)
    if service.domain:
        yield options.domain(service.domain)
    if service.search:
        yield options.search(service.search)
    if service.ntp:
        yield options.addresses("ntp-server", service.ntp, "time servers")
    if lease.classless:
        yield options.routes("249", lease.classless, "")  # for Windows before Vista


def _too_much(service: Service, names: Iterable[str]) -> Iterator[str]:
    """One line for each interface whose options fill more than the smallest packet."""
    for lease, name in zip(service.leases, names, strict=True):
        given = (option for option in _options(lease, service) if not option.tag)
        lost = [option.label for option in options.lost(given) if option.label]
        if lost:
            yield (
                f"{', '.join(lost)} of {name} to a DHCP client that takes no more than 576 bytes "
                "(VMNET_IPAM=cloudinit carries all)"
            )


def servable(hosts: Iterable[Host]) -> tuple[Host, ...]:
    """The links, with those of their names that are valid."""
    valid = (Host(host.address, tuple(filter(is_domain, host.names))) for host in hosts)
    return tuple(host for host in valid if host.names)


def render_hosts(hosts: Iterable[Host]) -> str:
    """The hosts(5) file with the links."""
    return "".join(f"{host.address}\t{' '.join(searched.names(host))}\n" for host in hosts)


def render_servers(addresses: Iterable[str]) -> str:
    """The file with the servers that dnsmasq forwards to, in their order."""
    return "".join(f"server={address}\n" for address in addresses)


def _lease(interface: Interface, port: Port, own_dns: IPv4Address | None) -> Lease:
    address = interface.on_link(interface.ipv4[0])
    return Lease(
        tag=port.tap,
        bridge=port.bridge,
        mac=port.guest_mac,
        address=address,
        mtu=port.mtu,
        router=gateway_of(interface.default_route(4)),
        classless=classless(interface, own_dns).pairs,
    )


def _servers(addresses: Iterable[object]) -> tuple[IPv4Address, ...]:
    """As many IPv4 addresses as an option holds."""
    ipv4 = tuple(address for address in addresses if isinstance(address, IPv4Address))
    return ipv4[: options.servers_fitting(ipv4)]
