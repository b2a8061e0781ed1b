"""An identity as dnsmasq's configuration. Pure functions; dnsmasq(8) explains each option."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from attrs import frozen

from vmnet.identity import Host, Identity, Interface, Route
from vmnet.names import is_domain, is_label
from vmnet.wiring import Port, Wiring

_ON_LINK = IPv4Address(0)
_EVERYWHERE = IPv4Network("0.0.0.0/0")


@frozen
class Paths:
    """Where dnsmasq finds and leaves its files."""

    config: Path
    hosts: Path
    leases: Path
    pidfile: Path
    log: Path

    @classmethod
    def below(cls, run_dir: Path) -> Paths:
        return cls(
            config=run_dir / "dnsmasq.conf",
            hosts=run_dir / "dnsmasq.hosts",
            leases=run_dir / "dnsmasq.leases",
            pidfile=run_dir / "dnsmasq.pid",
            log=run_dir / "dnsmasq.log",
        )


@frozen
class Lease:
    """What one NIC of the guest is told.

    :param shared: the bridge has no address of the lease's subnet
    :param classless: destination and gateway pairs of option 121 (RFC 3442); empty if option 3 says
        it all
    """

    tag: str
    bridge: str
    mac: str
    address: IPv4Interface
    shared: bool
    mtu: int
    router: IPv4Address | None
    classless: tuple[tuple[IPv4Network, IPv4Address], ...]


@frozen
class Service:
    """All that dnsmasq is to do.

    :param nameservers: what the guest is told to ask
    :param upstream: where dnsmasq forwards to; None where it serves no DNS
    """

    leases: tuple[Lease, ...]
    bridges: tuple[str, ...]
    hostname: str
    domain: str
    search: tuple[str, ...]
    nameservers: tuple[IPv4Address, ...]
    upstream: tuple[str, ...] | None
    hosts: tuple[Host, ...]
    ntp: tuple[IPv4Address, ...]
    not_carried: tuple[str, ...]

    @classmethod
    def of(cls, identity: Identity, wiring: Wiring) -> Service:
        search = tuple(one for one in identity.resolver.search if is_domain(one))
        domain = identity.domain if is_domain(identity.domain) else ""
        dns = wiring.nameserver
        served = zip(identity.interfaces, wiring.ports, strict=True) if wiring.contain else ()
        return cls(
            leases=tuple(_lease(one, port, dns) for one, port in served if one.ipv4),
            bridges=tuple(port.bridge for port in wiring.ports),
            hostname=identity.hostname if is_label(identity.hostname) else "",
            domain=domain or (search[0] if search else ""),
            search=search,
            nameservers=(dns,) if dns else _ipv4(identity.resolver.nameservers),
            upstream=tuple(map(str, identity.resolver.nameservers)) if dns else None,
            hosts=tuple(
                Host(host.address, names)
                for host in identity.hosts
                if (names := tuple(filter(is_domain, host.names)))
            ),
            ntp=_ipv4(identity.ntp),
            not_carried=tuple(_not_carried(identity)) if wiring.contain else (),
        )


def serves_dns(identity: Identity) -> bool:
    """Whether the guest needs us as its nameserver.

    A resolver on loopback is out of the guest's reach, and the names of links are in no DNS.
    """
    return identity.resolver.is_local or bool(identity.hosts)


def render(service: Service, paths: Paths) -> str:
    """dnsmasq.conf."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # no HTML: what could break a line is validated in Service
    )
    return environment.get_template("dnsmasq.conf.j2").render(service=service, paths=paths)


def render_hosts(service: Service) -> str:
    """The hosts(5) file with the links."""
    return "".join(f"{host.address}\t{' '.join(host.names)}\n" for host in service.hosts)


def _lease(interface: Interface, port: Port, dns: IPv4Address | None) -> Lease:
    address = interface.ipv4[0]
    default = interface.default_route(4)
    return Lease(
        tag=port.tap,
        bridge=port.bridge,
        mac=port.guest_mac,
        address=address,
        shared=port.bridge_address.ip not in address.network,
        mtu=port.mtu,
        router=default.gateway if default and isinstance(default.gateway, IPv4Address) else None,
        classless=tuple(_classless(interface, port, dns)),
    )


def _classless(
    interface: Interface, port: Port, dns: IPv4Address | None
) -> Iterator[tuple[IPv4Network, IPv4Address]]:
    """Option 121's routes, nearest first and the default last; none where option 3 suffices.

    A client that gets option 121 ignores option 3 (RFC 3442), so the default route is in both. A
    gateway outside the subnet is itself made reachable on the link first.
    """
    default = interface.default_route(4)
    others = [one for one in interface.routes_of(4) if not one.is_default]
    routes = [*others, *([default] if default else [])]
    on_link = [_host(one.gateway) for one in routes if _is_far(one, interface)]
    if dns == port.bridge_address.ip and dns not in interface.ipv4[0].network:
        on_link.append(_host(dns))
    if not others and not on_link:
        return
    for destination in dict.fromkeys(on_link):
        yield destination, _ON_LINK
    for route in routes:
        if isinstance(route.destination, IPv4Network):
            gateway = route.gateway if isinstance(route.gateway, IPv4Address) else _ON_LINK
            yield route.destination, gateway


def _is_far(route: Route, interface: Interface) -> bool:
    gateway = route.gateway
    return isinstance(gateway, IPv4Address) and gateway not in interface.ipv4[0].network


def _host(address: object) -> IPv4Network:
    return IPv4Network(f"{address}/32")


def _ipv4(addresses: Iterable[object]) -> tuple[IPv4Address, ...]:
    return tuple(one for one in addresses if isinstance(one, IPv4Address))


def _not_carried(identity: Identity) -> Iterator[str]:
    for interface in identity.interfaces:
        more = [*interface.ipv4[1:], *interface.ipv6]
        if more:
            yield f"further addresses of {interface.name}: {', '.join(map(str, more))}"
        defaults = [one for one in interface.routes_of(4) if one.is_default]
        if len(defaults) > 1:
            yield f"all but the first of {len(defaults)} default routes of {interface.name}"
    if identity.resolver.options:
        yield f"resolv.conf options: {' '.join(identity.resolver.options)}"
    if not is_label(identity.hostname):
        yield f"the host name {identity.hostname!r}, which is not a valid one"
