"""Run real DHCPv6 clients in a namespace."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

from attrs import frozen

from ..net import snapshot
from ..net.namespace import Namespace
from ..wait import WAIT, until
from .script import HIDE_DHCPCD, ask, hook


@frozen
class Lease6:
    """A DHCPv6 address as the client reports it. DHCPv6 leases contain no routers or prefixes."""

    address: IPv6Address
    dns: tuple[IPv6Address, ...]
    """Option 23."""
    search: tuple[str, ...]
    """Option 24."""
    environment: dict[str, str]
    """All variables that the client passed to its script."""


def dhclient6(where: Namespace, interface: str = "eth0", *, timeout: float = WAIT) -> Lease6:
    """Run ISC's client. It does not wait for a router advertisement."""
    _await_link_local(where, interface)
    with hook() as (script, result):
        config = script.with_name("dhclient.conf")
        config.write_text("request dhcp6.name-servers, dhcp6.domain-search;\n")
        files = ("-cf", config, "-lf", script.with_name("leases"), "-pf", script.with_name("pid"))
        client = ("dhclient", "-6", "-d", "-sf", script, *files, interface)
        variables = ask(where, client, result, timeout)
    return _lease(variables, variables["new_ip6_address"])


def dhcpcd6(where: Namespace, interface: str = "eth0", *, timeout: float = WAIT) -> Lease6:
    """Run Roy Marples' client. It waits for a router advertisement that announces DHCPv6."""
    _await_link_local(where, interface)
    with hook() as (script, result):
        config = script.with_name("dhcpcd.conf")
        config.write_text("duid\nnodelay\noption dhcp6_name_servers, dhcp6_domain_search\n")
        client = ("dhcpcd", "-6", "-B", "--noconfigure", "-f", config, "-c", script, interface)
        variables = ask(where, (*HIDE_DHCPCD, *client), result, timeout)
    return _lease(variables, variables["new_dhcp6_ia_na1_ia_addr1"])


Client6 = Callable[[Namespace], Lease6]
CLIENTS6 = (dhclient6, dhcpcd6)


def _await_link_local(where: Namespace, interface: str) -> None:
    """Wait until the interface has a link-local address that has passed duplicate detection.

    Clients need it, and the kernel adds it some time after the interface is up.
    """

    def usable() -> bool:
        addresses = where.addresses(interface)
        has_one = any(found["local"].startswith("fe80:") for found in addresses)
        return has_one and not snapshot.tentative(where.name)

    until(usable, WAIT, "a link-local address", detail=lambda: str(where.addresses(interface)))


def _lease(variables: dict[str, str], address: str) -> Lease6:
    domains = variables.get("new_dhcp6_domain_search", "").split()
    return Lease6(
        address=IPv6Address(address),
        dns=tuple(map(IPv6Address, variables.get("new_dhcp6_name_servers", "").split())),
        search=tuple(domain.rstrip(".") for domain in domains),
        environment=variables,
    )
