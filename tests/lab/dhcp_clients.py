"""Real DHCP clients, asked for a lease in a namespace; what they say is what a VM would learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from attrs import frozen

from .dhcp_hook import HIDE_DHCPCD, ask, hook
from .namespace import Namespace

Route = tuple[IPv4Network, IPv4Address]


@frozen
class Lease:
    """A DHCPv4 lease as the client understood it."""

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
    """Option 51; 2**32 - 1 is for ever."""
    server: IPv4Address
    """Option 54."""
    search: tuple[str, ...]
    """Option 119."""
    routes: tuple[Route, ...]
    """Option 121, in its order; the gateway 0.0.0.0 means on-link."""
    environment: dict[str, str]
    """All that the client told its script."""

    def configure(self, where: Namespace, interface: str = "eth0") -> None:
        """Lay the lease out on an interface, as RFC 3442 says: option 121 hides option 3."""
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
    timeout: float = 15,
    asked: tuple[str, ...] = ("hostname", "search", "staticroutes", "mtu", "ntpsrv"),
) -> Lease:
    """
    Busybox's client, which Alpine, OpenWrt and every small initramfs have.

    :param asked: options to ask for, next to those that it always asks for.
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
        )
        said = ask(where, client, result, timeout)
    return Lease(
        address=IPv4Interface(f"{said['ip']}/{said['mask']}"),
        routers=_addresses(said.get("router")),
        dns=_addresses(said.get("dns")),
        hostname=said.get("hostname"),
        domain=said.get("domain"),
        mtu=_number(said.get("mtu")),
        ntp=_addresses(said.get("ntpsrv")),
        seconds=int(said["lease"]),
        server=IPv4Address(said["serverid"]),
        search=_names(said.get("search")),
        routes=_pairs(said.get("staticroutes")),
        environment=said,
    )


def dhclient(where: Namespace, interface: str = "eth0", *, timeout: float = 15) -> Lease:
    """ISC's client, which older Debian, Ubuntu and RHEL have."""
    with hook() as (script, result):
        config = script.with_name("dhclient.conf")
        config.write_text(_DHCLIENT_CONF)
        files = ("-cf", config, "-lf", script.with_name("leases"), "-pf", script.with_name("pid"))
        client = ("dhclient", "-4", "-d", "-sf", script, *files, interface)
        said = ask(where, client, result, timeout)
    return _lease_of_new(said, _octet_routes(said.get("new_rfc3442_classless_static_routes")))


def dhcpcd(where: Namespace, interface: str = "eth0", *, timeout: float = 15) -> Lease:
    """Roy Marples' client, which Raspberry Pi OS, Arch and the newer Debian installers have."""
    with hook() as (script, result):
        config = script.with_name("dhcpcd.conf")
        config.write_text(_DHCPCD_CONF)
        client = ("dhcpcd", "-4", "-B", "--noconfigure", "-f", config, "-c", script, interface)
        said = ask(where, (*HIDE_DHCPCD, *client), result, timeout)
    return _lease_of_new(said, _pairs(said.get("new_classless_static_routes")))


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


def _lease_of_new(said: Mapping[str, str], routes: tuple[Route, ...]) -> Lease:
    """dhclient and dhcpcd give the same names to nearly everything."""
    return Lease(
        address=IPv4Interface(f"{said['new_ip_address']}/{said['new_subnet_mask']}"),
        routers=_addresses(said.get("new_routers")),
        dns=_addresses(said.get("new_domain_name_servers")),
        hostname=said.get("new_host_name"),
        domain=said.get("new_domain_name"),
        mtu=_number(said.get("new_interface_mtu")),
        ntp=_addresses(said.get("new_ntp_servers")),
        seconds=int(said["new_dhcp_lease_time"]),
        server=IPv4Address(said["new_dhcp_server_identifier"]),
        search=_names(said.get("new_domain_search")),
        routes=routes,
        environment=dict(said),
    )


def _addresses(text: str | None) -> tuple[IPv4Address, ...]:
    return tuple(map(IPv4Address, (text or "").split()))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.rstrip(".") for name in (text or "").split())


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _pairs(text: str | None) -> tuple[Route, ...]:
    """``10.0.0.0/8 172.30.1.1 …``"""
    words = (text or "").split()
    return tuple(
        (IPv4Network(network), IPv4Address(gateway))
        for network, gateway in zip(words[::2], words[1::2], strict=True)
    )


def _octet_routes(text: str | None) -> tuple[Route, ...]:
    """``8 10 172 30 1 1 …``: option 121 byte by byte; it omits a prefix's zero bytes (RFC 3442)."""
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
