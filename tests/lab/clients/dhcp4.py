"""Run real DHCPv4 clients in a namespace. They receive the same lease as a VM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from attrs import frozen

from ..net.namespace import Namespace
from ..wait import WAIT
from .script import HIDE_DHCPCD, ask, hook

Route = tuple[IPv4Network, IPv4Address]


@frozen
class Lease:
    """A DHCPv4 lease as the client reports it."""

    address: IPv4Interface
    routers: tuple[IPv4Address, ...]
    """Option 3."""
    dns: tuple[IPv4Address, ...]
    """Option 6."""
    hostname: str | None
    """Option 12."""
    domain: str | None
    """Option 15."""
    mtu: int | None
    """Option 26."""
    ntp: tuple[IPv4Address, ...]
    """Option 42."""
    seconds: int
    """Option 51; 2**32 - 1 means infinite."""
    server: IPv4Address
    """Option 54."""
    search: tuple[str, ...]
    """Option 119."""
    routes: tuple[Route, ...]
    """Option 121, in the option's order; the gateway 0.0.0.0 means on-link."""
    environment: dict[str, str]
    """All variables that the client passed to its script."""

    def configure(self, where: Namespace, interface: str = "eth0") -> None:
        """Configure an interface with the lease. Option 121 precedes option 3 (RFC 3442)."""
        link = ("dev", interface)
        if self.mtu:
            where.ip("link", "set", *link, "mtu", str(self.mtu))
        where.ip("address", "replace", str(self.address), "broadcast", "+", *link)
        default = IPv4Network("0.0.0.0/0")
        for network, gateway in self.routes or [(default, router) for router in self.routers[:1]]:
            via = ("via", str(gateway)) if int(gateway) else ("scope", "link")
            where.ip("route", "replace", str(network), *via, *link)


def udhcpc(
    where: Namespace,
    interface: str = "eth0",
    *,
    timeout: float = WAIT,
    asked: tuple[str, ...] = ("hostname", "search", "staticroutes", "mtu", "ntpsrv"),
    more: tuple[str, ...] = (),
) -> Lease:
    """
    Run BusyBox's client, which Alpine, OpenWrt and small initramfs images use.

    :param asked: options to request in addition to the client's default options.
    :param more: further arguments of the client.
    """
    options = [word for name in asked for word in ("-O", name)]
    with hook() as (script, result):
        client = (
            "udhcpc",
            "-f",
            "-i",
            interface,
            "-s",
            str(script),
            "-t",
            "20",
            "-T",
            "1",
            *options,
            *more,
        )
        variables = ask(where, client, result, timeout)
    return Lease(
        address=IPv4Interface(f"{variables['ip']}/{variables['mask']}"),
        routers=_addresses(variables.get("router")),
        dns=_addresses(variables.get("dns")),
        hostname=variables.get("hostname"),
        domain=variables.get("domain"),
        mtu=_number(variables.get("mtu")),
        ntp=_addresses(variables.get("ntpsrv")),
        seconds=int(variables["lease"]),
        server=IPv4Address(variables["serverid"]),
        search=_names(variables.get("search")),
        routes=_pairs(variables.get("staticroutes")),
        environment=variables,
    )


def dhclient(where: Namespace, interface: str = "eth0", *, timeout: float = WAIT) -> Lease:
    """Run ISC's client, which older releases of Debian, Ubuntu and RHEL use."""
    with hook() as (script, result):
        config = script.with_name("dhclient.conf")
        config.write_text(_DHCLIENT_CONF)
        files = ("-cf", config, "-lf", script.with_name("leases"), "-pf", script.with_name("pid"))
        client = ("dhclient", "-4", "-d", "-sf", script, *files, interface)
        variables = ask(where, client, result, timeout)
    routes = _octet_routes(variables.get("new_rfc3442_classless_static_routes"))
    return _common_lease(variables, routes)


def dhcpcd(where: Namespace, interface: str = "eth0", *, timeout: float = WAIT) -> Lease:
    """Run Roy Marples' client, which Raspberry Pi OS, Arch and newer Debian installers use."""
    with hook() as (script, result):
        config = script.with_name("dhcpcd.conf")
        config.write_text(_DHCPCD_CONF)
        client = ("dhcpcd", "-4", "-B", "--noconfigure", "-f", config, "-c", script, interface)
        variables = ask(where, (*HIDE_DHCPCD, *client), result, timeout)
    return _common_lease(variables, _pairs(variables.get("new_classless_static_routes")))


Client = Callable[[Namespace], Lease]
CLIENTS = (udhcpc, dhclient, dhcpcd)

_DHCLIENT_CONF = """
option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
timeout 60;
retry 1;
initial-interval 1;
backoff-cutoff 1;
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, domain-search,
  host-name, interface-mtu, rfc3442-classless-static-routes, ntp-servers;
"""

_DHCPCD_CONF = """
duid
noarp
noipv4ll
nodelay
option subnet_mask, broadcast_address, routers, domain_name, domain_name_servers, domain_search
option host_name, interface_mtu, classless_static_routes, ntp_servers
"""


def _common_lease(variables: Mapping[str, str], routes: tuple[Route, ...]) -> Lease:
    """Return a lease from the variables that dhclient and dhcpcd name alike."""
    return Lease(
        address=IPv4Interface(f"{variables['new_ip_address']}/{variables['new_subnet_mask']}"),
        routers=_addresses(variables.get("new_routers")),
        dns=_addresses(variables.get("new_domain_name_servers")),
        hostname=variables.get("new_host_name"),
        domain=variables.get("new_domain_name"),
        mtu=_number(variables.get("new_interface_mtu")),
        ntp=_addresses(variables.get("new_ntp_servers")),
        seconds=int(variables["new_dhcp_lease_time"]),
        server=IPv4Address(variables["new_dhcp_server_identifier"]),
        search=_names(variables.get("new_domain_search")),
        routes=routes,
        environment=dict(variables),
    )


def _addresses(text: str | None) -> tuple[IPv4Address, ...]:
    return tuple(map(IPv4Address, (text or "").split()))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.rstrip(".") for name in (text or "").split())


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _pairs(text: str | None) -> tuple[Route, ...]:
    """Parse ``10.0.0.0/8 172.30.1.1 …``."""
    words = (text or "").split()
    return tuple(
        (IPv4Network(network), IPv4Address(gateway))
        for network, gateway in zip(words[::2], words[1::2], strict=True)
    )


def _octet_routes(text: str | None) -> tuple[Route, ...]:
    """Parse ``8 10 172 30 1 1 …``, the bytes of option 121.

    The option omits the bytes of a network that its prefix does not cover (RFC 3442).
    """
    octets = [int(word) for word in (text or "").split()]
    routes: list[Route] = []
    while octets:
        prefix, octets = octets[0], octets[1:]
        significant = -(-prefix // 8)
        network = bytes(octets[:significant]).ljust(4, b"\0")
        gateway = bytes(octets[significant : significant + 4])
        routes.append((IPv4Network((network, prefix)), IPv4Address(gateway)))
        octets = octets[significant + 4 :]
    return tuple(routes)
