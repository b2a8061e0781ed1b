"""The container's names: resolv.conf(5), hosts(5), its host name and domain."""

from __future__ import annotations

import logging
import os
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from attrs import evolve

from vmnet.model.identity import Host, Interface, Resolver

_log = logging.getLogger(__name__)
RESOLV_CONF = Path("/etc/resolv.conf")
HOSTS = Path("/etc/hosts")
DOCKER = IPv4Address("127.0.0.11")
"""Docker's nameserver, on each network that is not its default bridge (libnetwork)."""
DOMAINNAME = Path("/proc/sys/kernel/domainname")


def read_resolver(path: Path = RESOLV_CONF) -> Resolver:
    """The resolver's configuration; an absent file is an empty one, as it is for libc."""
    nameservers: list[IPv4Address | IPv6Address] = []
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in _lines(path):
        keyword, *arguments = line.split()
        if keyword == "nameserver" and arguments and (address := _nameserver(arguments[0])):
            nameservers.append(address)
        elif keyword in ("search", "domain") and arguments:
            search = tuple(arguments)
        elif keyword == "options":
            options += tuple(arguments)
    return Resolver(tuple(dict.fromkeys(nameservers)), search, options)


def with_networks(found: Resolver, interfaces: tuple[Interface, ...], hostname: str) -> Resolver:
    """With the networks of Docker's nameserver in the search list, in which no file has them.

    With ``ndots:0``, which Docker writes, the container asks for a name as it is before it
    searches. So the networks come before the other domains; with another ``ndots`` behind them.
    """
    if DOCKER not in found.nameservers or not any(one.addresses for one in interfaces):
        return found
    from vmnet.net import dns

    networks = dns.networks(interfaces, hostname, DOCKER)
    if not networks and not found.search:
        _log.warning(
            "the nameserver %s does not say what network this is, so a guest with systemd-resolved "
            "finds no container by its name alone: name the network by --dns-search",
            DOCKER,
        )
    own = tuple(name for name in networks if name not in found.search)
    is_first = "ndots:0" in found.options
    search = (*own, *found.search) if is_first else (*found.search, *own)
    return evolve(found, search=search, networks=own)


def read_hosts(own: frozenset[str], path: Path = HOSTS) -> tuple[Host, ...]:
    """The links and added hosts: lines that neither belong to loopback nor name ourselves.

    :param own: the container's own names, which its own line in the file carries
    """
    found = []
    for line in _lines(path):
        first, *names = line.split("#")[0].split() or [""]
        address = _address(first)
        if address is None or not names or _is_standard(address):
            continue
        if not own.isdisjoint(names):
            continue
        found.append(Host(address, tuple(names)))
    return tuple(found)


def read_names() -> tuple[str, str]:
    """The host name without its domain, and the domain.

    A domain comes from a host name that has one, else from the kernel's domain name, which is
    where ``docker run --domainname`` puts it.
    """
    hostname, _, domain = os.uname().nodename.partition(".")
    if not domain:
        domain = DOMAINNAME.read_text().strip()
    return hostname, "" if domain == "(none)" else domain


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in map(str.strip, text.splitlines()) if line and line[0] not in "#;"]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, or None for what libc would skip too; a zone (``%eth0``) is dropped with it."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _nameserver(text: str) -> IPv4Address | IPv6Address | None:
    """The unspecified address is this machine, as connect(2) has it; to DHCP it is the server."""
    address = _address(text)
    if address is None or not address.is_unspecified:
        return address
    return IPv4Address("127.0.0.1") if address.version == 4 else IPv6Address("::1")


def _is_standard(address: IPv4Address | IPv6Address) -> bool:
    return address.is_loopback or address.is_multicast or address in _IPV6_LOCALNET


_IPV6_LOCALNET = (IPv6Address("fe00::0"), IPv6Address("ff00::0"))
