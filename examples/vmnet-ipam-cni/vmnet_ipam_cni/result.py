"""Parse and validate a plugin's result.

CNI specification 1.0.0 and 0.4.0, section "Result". The values are not trusted, because they reach
configuration files and the guest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any, TypeVar

from vmnet.api import frozen, is_domain
from vmnet_ipam_cni.plugin import one_line

Address = IPv4Address | IPv6Address
Value = TypeVar("Value")

_MAIN_TABLES = (None, 0, 254)
_LINK_SCOPE = 253  # RT_SCOPE_LINK, rtnetlink(7)
_OPTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_-]{0,63}", re.ASCII)
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+", re.ASCII)
_PREFIXED = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}", re.ASCII)


@frozen
class Allocated:
    """An allocated address.

    :param gateway: gateway of its subnet, if any
    """

    address: IPv4Interface | IPv6Interface
    gateway: Address | None


@frozen
class Hop:
    """A route of a result.

    :param gateway: None to use the gateway of an address
    :param is_link: the destination is on-link, regardless of gateways
    """

    destination: IPv4Network | IPv6Network
    gateway: Address | None
    is_link: bool
    metric: int
    mtu: int | None


@frozen
class Names:
    """The ``dns`` section of a result."""

    nameservers: tuple[Address, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@frozen
class Result:
    """The result of an ADD."""

    addresses: tuple[Allocated, ...]
    routes: tuple[Hop, ...]
    dns: Names


def read(document: Any, version: str, interface: str) -> Result:
    """Parse the result of an ADD.

    :param version: CNI version of the network configuration, which the result must have as well
    :raises ValueError: the result is malformed or unusable
    """
    result = _mapping(document, "the result")
    if result.get("cniVersion") != version:
        raise ValueError(f"cniVersion is {_shown(result.get('cniVersion'))}, not {version}")
    addresses = tuple(_addresses(result, interface))
    if not addresses:
        raise ValueError(f"there is no address for {interface}")
    routes = tuple(_hop(route) for route in _items(result, "routes"))
    return Result(addresses, routes, _names(result.get("dns")))


def _addresses(result: Mapping[str, Any], interface: str) -> Iterator[Allocated]:
    """Parse the addresses, and skip addresses that the plugin assigns to another interface."""
    links = [_mapping(link, "an interface").get("name") for link in _items(result, "interfaces")]
    for item in _items(result, "ips"):
        entry = _mapping(item, "an entry of ips")
        index = entry.get("interface")
        if index is not None:
            if not (_is_number(index) and index < len(links)):
                raise ValueError(f"there is no interface {_shown(index)} among {len(links)}")
            if links[index] != interface:
                continue
        yield _allocated(entry)


def _allocated(entry: Mapping[str, Any]) -> Allocated:
    address = _address(entry.get("address"))
    version = entry.get("version")  # only in CNI 0.4.0
    if version is not None and version != str(address.version):
        raise ValueError(f"{address} has the wrong IP version {_shown(version)}")
    gateway = _gateway(entry.get("gateway"))
    if gateway is not None and gateway.version != address.version:
        raise ValueError(f"{gateway} can't be the gateway for {address}")
    if gateway == address.ip:
        raise ValueError(f"{address} is its own gateway")
    return Allocated(address, gateway)


def _address(value: Any) -> IPv4Interface | IPv6Interface:
    address = _parse(value, _PREFIXED, ip_interface, "an address with its prefix length")
    ip, network = address.ip, address.network
    is_reserved = network.prefixlen < network.max_prefixlen - 1 and (
        ip == network.network_address or (ip.version == 4 and ip == network.broadcast_address)
    )
    if not _is_host(ip) or is_reserved or (ip.version == 6 and ip.is_link_local):
        raise ValueError(f"{address} is not a host address")
    return address


def _gateway(value: Any) -> Address | None:
    """Parse a gateway. Some plugins write the unspecified address instead of no gateway."""
    if value is None or value == "":
        return None
    gateway = _parse(value, _ADDRESS, ip_address, "a gateway's address")
    if gateway.is_unspecified:
        return None
    if not _is_host(gateway):
        raise ValueError(f"{gateway} can't be a gateway")
    return gateway


def _hop(item: Any) -> Hop:
    route = _mapping(item, "a route")
    destination = _parse(
        route.get("dst"), _PREFIXED, lambda text: ip_network(text, strict=False), "a destination"
    )
    gateway = _gateway(route.get("gw"))
    if gateway is not None and gateway.version != destination.version:
        raise ValueError(f"{gateway} can't be the gateway to {destination}")
    if route.get("table") not in _MAIN_TABLES:
        raise ValueError(f"the route to {destination} is not in the main table")
    is_link = route.get("scope") == _LINK_SCOPE or (gateway is None and bool(route.get("gw")))
    metric = _number(route, "priority", 0, (1 << 32) - 1) or 0
    mtu = _number(route, "mtu", 68, 65535)
    return Hop(destination, None if is_link else gateway, is_link, metric, mtu)


def _names(section: Any) -> Names:
    if section is None:
        return Names()
    dns = _mapping(section, "dns")
    domain = dns.get("domain") or ""
    return Names(
        tuple(map(_nameserver, _items(dns, "nameservers"))),
        _name(domain) if domain else "",
        tuple(map(_name, _items(dns, "search"))),
        tuple(map(_option, _items(dns, "options"))),
    )


def _nameserver(value: Any) -> Address:
    address = _parse(value, _ADDRESS, ip_address, "a nameserver's address")
    if not _is_host(address):
        raise ValueError(f"{address} is not a nameserver that a guest can reach")
    return address


def _name(value: Any) -> str:
    if not isinstance(value, str) or not is_domain(value):
        raise ValueError(f"{_shown(value)} is not a domain name")
    return value


def _option(value: Any) -> str:
    if not isinstance(value, str) or not _OPTION.fullmatch(value):
        raise ValueError(f"{_shown(value)} is not an option of resolv.conf")
    return value


def _is_host(ip: Address) -> bool:
    """Return whether a machine can have the address."""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return False
    is_broadcast = ip == IPv4Address("255.255.255.255")
    is_this_network = isinstance(ip, IPv4Address) and ip.packed[0] == 0  # RFC 1122 3.2.1.3
    is_special = ip.is_unspecified or ip.is_loopback or ip.is_multicast
    return not (is_special or is_broadcast or is_this_network)


def _parse(
    value: Any, pattern: re.Pattern[str], parse: Callable[[str], Value], expected: str
) -> Value:
    """Parse a value. The pattern excludes zones, netmasks and numbers, which Python accepts."""
    if isinstance(value, str) and pattern.fullmatch(value):
        try:
            return parse(value)
        except ValueError:
            pass
    raise ValueError(f"{_shown(value)} is not {expected}")


def _items(mapping: Mapping[str, Any], key: str) -> list[Any]:
    items = mapping.get(key)
    if items is None:
        return []
    if not isinstance(items, list):
        raise ValueError(f"{key!r} is not a list")
    return items


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object: {_shown(value)}")
    return value


def _number(mapping: Mapping[str, Any], key: str, low: int, high: int) -> int | None:
    number = mapping.get(key)
    if number is None or (_is_number(number) and number == 0):  # Go writes 0 for "not set"
        return None
    if not _is_number(number) or not low <= number <= high:
        raise ValueError(f"{key!r} is {_shown(number)}, not from {low} to {high}")
    return int(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _shown(value: Any) -> str:
    try:
        return one_line(repr(value))
    except (RecursionError, ValueError):  # nested too deeply, or a number with too many digits
        return "something"
