"""Read the container's resolv.conf(5), hosts(5), host name and domain."""

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
"""Docker's nameserver on every network except the default bridge (libnetwork)."""
DOMAINNAME = Path("/proc/sys/kernel/domainname")


def read_resolver(path: Path = RESOLV_CONF) -> Resolver:
    """Read the resolver's configuration; like libc, treat an absent file as empty."""
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


def with_networks(
    configured: Resolver, interfaces: tuple[Interface, ...], hostname: str
) -> Resolver:
    """Add the networks that Docker's nameserver reports to the search list.

    With ``ndots:0``, which Docker writes, the container tries a name as it is before it searches.
    The networks then come before the configured domains, and otherwise after them.
    """
    if DOCKER not in configured.nameservers or not any(nic.addresses for nic in interfaces):
        return configured
    from vmnet.net import dns

    networks = dns.networks(interfaces, hostname, DOCKER)
    if not networks and not configured.search:
        _log.warning(
            "the nameserver %s does not report the name of this network, so a guest with "
            "systemd-resolved cannot resolve the single-label names of other containers: pass the "
            "network's name with --dns-search",
            DOCKER,
            extra={"event": "names.unavailable"},
        )
    added = tuple(name for name in networks if name not in configured.search)
    is_first = "ndots:0" in configured.options
    search = (*added, *configured.search) if is_first else (*configured.search, *added)
    return evolve(configured, search=search, networks=added)


def read_hosts(own: frozenset[str], path: Path = HOSTS) -> tuple[Host, ...]:
    """Read the links and added hosts: all lines except loopback's and the container's own.

    :param own: the container's names, which mark its own line
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
    """Return the host name without its domain, and the domain.

    The domain is the rest of the host name. If the host name has no dot, the domain is the kernel's
    domain name, which ``docker run --domainname`` sets.
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
    """Parse an address without its zone (``%eth0``); None for text that libc skips, too."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _nameserver(text: str) -> IPv4Address | IPv6Address | None:
    """Parse a nameserver's address; the unspecified address becomes loopback.

    connect(2) treats the unspecified address as this machine. In DHCP it means the server.
    """
    address = _address(text)
    if address is None or not address.is_unspecified:
        return address
    return IPv4Address("127.0.0.1") if address.version == 4 else IPv6Address("::1")


def _is_standard(address: IPv4Address | IPv6Address) -> bool:
    return address.is_loopback or address.is_multicast or address in _IPV6_LOCALNET


_IPV6_LOCALNET = (IPv6Address("fe00::0"), IPv6Address("ff00::0"))
