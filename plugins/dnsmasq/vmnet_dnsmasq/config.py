"""Turn an identity into dnsmasq's configuration. Pure functions; see dnsmasq(8) for the options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from attrs import evolve

from vmnet.api import Host, Identity, Interface, Local, Wiring, frozen, is_domain, is_label
from vmnet_dnsmasq import dns_names, options
from vmnet_dnsmasq.boot_file import BootFile
from vmnet_dnsmasq.gaps import gaps, own_nameserver, reachable
from vmnet_dnsmasq.options import Option, quoted
from vmnet_dnsmasq.routes import Pair, classless, gateway_of

# DHCP option codes (RFC 2132, RFC 3442), and the message type DHCPDECLINE
_MESSAGE_TYPE, _REQUESTED, _CLASSLESS, _DECLINE = 53, 55, 121, 4


@frozen
class Paths:
    """The files that dnsmasq reads and writes."""

    config: Path
    hosts: Path
    servers: Path
    spare_option: Path
    leases: Path
    pidfile: Path
    log: Path

    @classmethod
    def below(cls, run_dir: Path) -> Paths:
        return cls(
            config=run_dir / "dnsmasq.conf",
            hosts=run_dir / "dnsmasq.hosts",
            servers=run_dir / "dnsmasq.servers",
            # dnsmasq reads the files of this folder again when they change.
            spare_option=run_dir / "dnsmasq.options" / "nameserver",
            leases=run_dir / "dnsmasq.leases",
            pidfile=run_dir / "dnsmasq.pid",
            log=run_dir / "dnsmasq.log",
        )


@frozen
class Lease:
    """The DHCP lease of one NIC of the guest.

    :param device: the device on which dnsmasq serves it; its name is also the tag of its options
    :param classless: destination and gateway pairs of option 121 (RFC 3442); empty if option 3
        suffices
    """

    device: str
    mac: str
    address: IPv4Interface
    mtu: int
    router: IPv4Address | None
    classless: tuple[Pair, ...]


@frozen
class Service:
    """Everything that dnsmasq serves.

    :param nameservers: the nameservers in the guest's lease. The forwarder's link-local address
        needs a route
    :param names_spare: whether a guest that requests no routes gets the bridge's spare address in
        their place, see :func:`spare_option`
    :param spare: this address; None until the bridge has it
    :param upstream: the servers that dnsmasq forwards to; None if it serves no DNS
    :param boot: what a guest that boots from the network loads
    """

    leases: tuple[Lease, ...]
    devices: tuple[str, ...]
    hostname: str
    domain: str
    search: tuple[str, ...]
    nameservers: tuple[IPv4Address, ...]
    names_spare: bool
    spare: IPv4Address | None
    upstream: tuple[str, ...] | None
    hosts: tuple[Host, ...]
    ntp: tuple[IPv4Address, ...]
    not_carried: tuple[str, ...]
    boot: BootFile | None = None

    @classmethod
    def of(cls, identity: Identity, wiring: Wiring, boot: BootFile | None = None) -> Service:
        dns = wiring.nameserver if wiring.needs_forwarder else None
        stable = wiring.stable_nameserver if dns else None
        original = dns_names.search_domains(identity, serves_hosts=False)
        search = dns_names.search_domains(identity, serves_hosts=dns is not None)
        domain = identity.domain if is_domain(identity.domain) else ""
        served = [
            (interface, port, port.local)
            for interface, port in wiring.pairs(identity)
            if wiring.contain and interface.ipv4 and port.local is not None
        ]
        forwarding = [port.local for port in wiring.ports if port.local and wiring.forwards(port)]
        devices = (own.device for own in (*forwarding, *(own for _, _, own in served)))
        service = cls(
            leases=tuple(
                _lease(interface, own, own_nameserver(port, wiring))
                for interface, port, own in served
            ),
            devices=tuple(dict.fromkeys(devices)),
            hostname=identity.hostname if is_label(identity.hostname) else "",
            domain=domain or (original[0] if original else ""),
            search=search[: options.search_fitting(search)],
            nameservers=(stable,) if stable else _servers(identity.resolver.nameservers),
            names_spare=bool(served) and any(own.candidates for own in forwarding),
            spare=None if dns == stable else dns,
            upstream=tuple(map(str, reachable(identity.resolver.nameservers))) if dns else None,
            hosts=servable(identity.hosts),
            ntp=_servers(identity.ntp),
            not_carried=gaps(identity, wiring),
            boot=boot,
        )
        oversized = tuple(_oversized(service, [interface.name for interface, _, _ in served]))
        return evolve(service, not_carried=service.not_carried + oversized)

    @property
    def macs(self) -> frozenset[str]:
        """The MACs of the guest's NICs that get a lease."""
        return frozenset(lease.mac for lease in self.leases)

    @property
    def is_needed(self) -> bool:
        """Whether dnsmasq serves DHCP or DNS."""
        return bool(self.leases) or self.upstream is not None


def serves_dns(identity: Identity) -> bool:
    """Whether the guest needs dnsmasq as its nameserver, and can use it.

    The guest cannot reach a resolver on loopback, and no other DNS server knows the names of links.
    The bridge speaks only IPv4, so both the guest and at least one nameserver must have IPv4.
    """
    resolver = identity.resolver
    needed = resolver.is_local or bool(identity.hosts)
    cut_off = resolver.nameservers and not reachable(resolver.nameservers)
    return needed and not cut_off and any(interface.ipv4 for interface in identity.interfaces)


def render(service: Service, paths: Paths) -> str:
    """Render dnsmasq.conf.

    Every value is an address, a number, a quoted path, or a name that :mod:`vmnet.model.names`
    accepts and :mod:`vmnet_dnsmasq.options` makes unambiguous. No template engine: it takes longer
    to import than the rest of a start (see bench/start).
    """
    return "\n".join(_lines(service, paths)) + "\n"


def _lines(service: Service, paths: Paths) -> Iterator[str]:
    yield "# Written by vmnet: the DHCP and DNS server of one virtual machine."
    # Listen on a spare address, too, when the bridge gets it.
    binding = "bind-dynamic" if service.names_spare else "bind-interfaces"
    yield from ("no-resolv", "no-hosts", binding, "except-interface=lo")
    yield from (f"interface={device}" for device in service.devices)
    yield f"pid-file={quoted(paths.pidfile)}"
    yield f"log-facility={quoted(paths.log)}"
    if service.upstream is None:
        yield "port=0"
    else:
        yield f"addn-hosts={quoted(paths.hosts)}"
        yield f"local=/{dns_names.LINKS_DOMAIN}/"
        # Like libc, do not cache, because services move, and query the servers in order.
        yield from ("cache-size=0", "strict-order")
        yield f"servers-file={quoted(paths.servers)}"
    if service.leases:
        yield from ("", "# Answer only this guest, and at once.")
        yield from ("dhcp-authoritative", "dhcp-ignore=tag:!known", "no-ping")
        # To unicast to an address that the client has not configured yet, dnsmasq writes a
        # neighbour entry (arp(7)), which would replace the bridge's permanent entry.
        yield "dhcp-broadcast"
        yield f"dhcp-leasefile={quoted(paths.leases)}"
        # If a dhcp-host matches a DECLINE, dnsmasq disables its address for ten minutes. With this
        # tag none matches, so the client gets its address again at once.
        yield f"dhcp-match=set:decline,{_MESSAGE_TYPE},{_DECLINE}b"
        if service.names_spare:
            yield f"dhcp-match=set:classless,{_REQUESTED},{_CLASSLESS}b"
            yield f"dhcp-optsdir={quoted(paths.spare_option.parent)}"
        if service.hostname and not options.host_name(service.hostname):
            # Otherwise dnsmasq answers option 81 (RFC 4702) with another name than option 12.
            yield "dhcp-ignore-names"
            if not service.hostname.startswith("_"):
                name = service.hostname.lower()
                # Do not use host-record: dnsmasq would take the name from its reverse record.
                yield from (f"address=/{name}/{lease.address.ip}" for lease in service.leases)
    for lease in service.leases:
        yield ""
        yield from _lease_lines(lease, service)


def _lease_lines(lease: Lease, service: Service) -> Iterator[str]:
    address = lease.address
    # So that the bridge does not need an address of the lease's subnet, which it may lose.
    yield f"shared-network={lease.device},{address.ip}"
    yield f"dhcp-range={address.ip},static,{address.netmask},infinite"
    name = options.host_name(service.hostname) if service.hostname else ""
    words = (lease.mac, "tag:!decline", f"set:{lease.device}", str(address.ip), name, "infinite")
    yield f"dhcp-host={','.join(filter(None, words))}"
    # dnsmasq sends the last option first, and omits options that do not fit into a small packet.
    if service.boot:
        yield service.boot.line(f"tag:{lease.device}")
    for option in reversed(tuple(_options(lease, service))):
        parts = (f"tag:{lease.device}", option.tag, option.code, option.value)
        yield f"dhcp-option={','.join(filter(None, parts))}"


def _options(lease: Lease, service: Service) -> Iterator[Option]:
    """Yield a lease's options, the most important first."""
    # Without a value, the option stops dnsmasq from announcing itself as the router.
    yield options.addresses("router", [lease.router] if lease.router else [], "gateway")
    if lease.classless:
        yield options.routes(str(_CLASSLESS), lease.classless, "routes")
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


def _oversized(service: Service, interfaces: Iterable[str]) -> Iterator[str]:
    """Yield a line for each interface whose options do not fit into the smallest packet."""
    for lease, name in zip(service.leases, interfaces, strict=True):
        untagged = [option for option in _options(lease, service) if not option.tag]
        if service.boot:
            untagged.insert(0, service.boot.option)
        lost = [option.label for option in options.lost(untagged) if option.label]
        if lost:
            yield (
                f"{', '.join(lost)} of {name}, if the DHCP client accepts only 576 bytes "
                "(use VMNET_IPAM=cloudinit)"
            )


def servable(hosts: Iterable[Host]) -> tuple[Host, ...]:
    """Return the links with their valid names; omit links without a valid name."""
    valid = (Host(host.address, tuple(filter(is_domain, host.names))) for host in hosts)
    return tuple(host for host in valid if host.names)


def spare_option(nameserver: object) -> str:
    """Render the file that names another nameserver to a client that requests no routes.

    The lease names the forwarder's link-local address, which no machine on the network can claim.
    A client that requests no routes does not reach it, and gets the spare address while the bridge
    has it. The responder writes the same line (:mod:`vmnet_dnsmasq.responder.defended_address`).
    """
    return f"tag:!classless,option:dns-server,{nameserver}\n"


def render_hosts(hosts: Iterable[Host]) -> str:
    """Render the hosts(5) file of the links."""
    return "".join(f"{host.address}\t{' '.join(dns_names.served(host))}\n" for host in hosts)


def render_servers(addresses: Iterable[str]) -> str:
    """Render the file of the servers that dnsmasq forwards to, in their order."""
    return "".join(f"server={address}\n" for address in addresses)


def _lease(interface: Interface, own: Local, own_dns: IPv4Address | None) -> Lease:
    address = interface.on_link(interface.ipv4[0])
    return Lease(
        device=own.device,
        mac=interface.mac,
        address=address,
        mtu=interface.guest_mtu,
        router=gateway_of(interface.default_route(4)),
        classless=classless(interface, own_dns).pairs,
    )


def _servers(addresses: Iterable[object]) -> tuple[IPv4Address, ...]:
    """Return as many IPv4 addresses as fit into an option."""
    ipv4 = tuple(address for address in addresses if isinstance(address, IPv4Address))
    return ipv4[: options.servers_fitting(ipv4)]
