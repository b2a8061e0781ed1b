"""What a plugin allocated, read from its result and found sound.

CNI specification 1.0.0 and 0.4.0, section "Result". Nothing of it is believed: these values go into
configuration files and to the guest.
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
    """One address.

    :param gateway: of its subnet, where there is one
    """

    address: IPv4Interface | IPv6Interface
    gateway: Address | None


@frozen
class Hop:
    """A route as it is told.

    :param gateway: None where the gateway of an address will do
    :param is_link: the destination is on the link itself, whatever the gateways
    """

    destination: IPv4Network | IPv6Network
    gateway: Address | None
    is_link: bool
    metric: int
    mtu: int | None


@frozen
class Names:
    """The ``dns`` of a result."""

    nameservers: tuple[Address, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@frozen
class Result:
    addresses: tuple[Allocated, ...]
    routes: tuple[Hop, ...]
    dns: Names


def read(document: Any, version: str, interface: str) -> Result:
    """The result of an ADD.

    :param version: that of the network configuration, which it must be of
    :raises ValueError: with what is wrong with it
    """
    told = _mapping(document, "the result")
    if told.get("cniVersion") != version:
        raise ValueError(f"it is of cniVersion {_shown(told.get('cniVersion'))}, not {version}")
    addresses = tuple(_addresses(told, interface))
    if not addresses:
        raise ValueError(f"it has no address for {interface}")
    routes = tuple(_hop(one) for one in _items(told, "routes"))
    return Result(addresses, routes, _names(told.get("dns")))


def _addresses(told: Mapping[str, Any], interface: str) -> Iterator[Allocated]:
    """IPAM plugins tell no interfaces; of one that does, what is for another one is not ours."""
    links = [_mapping(one, "an interface").get("name") for one in _items(told, "interfaces")]
    for item in _items(told, "ips"):
        one = _mapping(item, "an entry of ips")
        index = one.get("interface")
        if index is not None:
            if not (_is_number(index) and index < len(links)):
                raise ValueError(f"it names interface {_shown(index)} of {len(links)}")
            if links[index] != interface:
                continue
        yield _allocated(one)


def _allocated(one: Mapping[str, Any]) -> Allocated:
    address = _address(one.get("address"))
    version = one.get("version")  # of 0.4.0 alone
    if version is not None and version != str(address.version):
        raise ValueError(f"{address} is said to be of IP version {_shown(version)}")
    gateway = _gateway(one.get("gateway"))
    if gateway is not None and gateway.version != address.version:
        raise ValueError(f"{gateway} can be no gateway for {address}")
    if gateway == address.ip:
        raise ValueError(f"{address} has itself for a gateway")
    return Allocated(address, gateway)


def _address(told: Any) -> IPv4Interface | IPv6Interface:
    found = _parse(told, _PREFIXED, ip_interface, "an address with its prefix length")
    ip, network = found.ip, found.network
    subnets_own = network.prefixlen < network.max_prefixlen - 1 and (
        ip == network.network_address or (ip.version == 4 and ip == network.broadcast_address)
    )
    if not _is_host(ip) or subnets_own or (ip.version == 6 and ip.is_link_local):
        raise ValueError(f"{found} is no address of a host")
    return found


def _gateway(told: Any) -> Address | None:
    """The unspecified address, which some plugins write for none, counts as none."""
    if told is None or told == "":
        return None
    found = _parse(told, _ADDRESS, ip_address, "a gateway's address")
    if found.is_unspecified:
        return None
    if not _is_host(found):
        raise ValueError(f"{found} is no gateway")
    return found


def _hop(item: Any) -> Hop:
    one = _mapping(item, "a route")
    destination = _parse(
        one.get("dst"), _PREFIXED, lambda text: ip_network(text, strict=False), "a destination"
    )
    gateway = _gateway(one.get("gw"))
    if gateway is not None and gateway.version != destination.version:
        raise ValueError(f"{gateway} can be no gateway to {destination}")
    if one.get("table") not in _MAIN_TABLES:
        raise ValueError(f"the route to {destination} is for another table than the main one")
    is_link = one.get("scope") == _LINK_SCOPE or (gateway is None and bool(one.get("gw")))
    metric = _number(one, "priority", 0, (1 << 32) - 1) or 0
    mtu = _number(one, "mtu", 68, 65535)
    return Hop(destination, None if is_link else gateway, is_link, metric, mtu)


def _names(told: Any) -> Names:
    if told is None:
        return Names()
    dns = _mapping(told, "dns")
    domain = dns.get("domain") or ""
    return Names(
        tuple(_nameserver(one) for one in _items(dns, "nameservers")),
        _name(domain) if domain else "",
        tuple(map(_name, _items(dns, "search"))),
        tuple(map(_option, _items(dns, "options"))),
    )


def _nameserver(told: Any) -> Address:
    found = _parse(told, _ADDRESS, ip_address, "a nameserver's address")
    if not _is_host(found):
        raise ValueError(f"{found} is no nameserver that a guest could reach")
    return found


def _name(told: Any) -> str:
    if not isinstance(told, str) or not is_domain(told):
        raise ValueError(f"{_shown(told)} is no domain name")
    return told


def _option(told: Any) -> str:
    if not isinstance(told, str) or not _OPTION.fullmatch(told):
        raise ValueError(f"{_shown(told)} is no option of resolv.conf")
    return told


def _is_host(ip: Address) -> bool:
    """Whether it can be a machine's: neither unspecified, loopback, multicast nor broadcast."""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return False
    is_broadcast = ip == IPv4Address("255.255.255.255")
    is_this_network = isinstance(ip, IPv4Address) and ip.packed[0] == 0  # RFC 1122 3.2.1.3
    unfit = ip.is_unspecified or ip.is_loopback or ip.is_multicast
    return not (unfit or is_broadcast or is_this_network)


def _parse(told: Any, form: re.Pattern[str], parse: Callable[[str], Value], what: str) -> Value:
    """Python's own parsers take more: zones, netmasks, numbers."""
    if isinstance(told, str) and form.fullmatch(told):
        try:
            return parse(told)
        except ValueError:
            pass
    raise ValueError(f"{_shown(told)} is not {what}")


def _items(told: Mapping[str, Any], key: str) -> list[Any]:
    found = told.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise ValueError(f"its {key!r} is not a list")
    return found


def _mapping(told: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(told, dict):
        raise ValueError(f"{what} is not an object: {_shown(told)}")
    return told


def _number(told: Mapping[str, Any], key: str, low: int, high: int) -> int | None:
    found = told.get(key)
    if found is None or (_is_number(found) and found == 0):  # Go's for "not given"
        return None
    if not _is_number(found) or not low <= found <= high:
        raise ValueError(f"its {key!r} is {_shown(found)}, not from {low} to {high}")
    return int(found)


def _is_number(told: Any) -> bool:
    return isinstance(told, int) and not isinstance(told, bool) and told >= 0


def _shown(told: Any) -> str:
    try:
        return one_line(repr(told))
    except (RecursionError, ValueError):  # too deep, or a number of too many digits
        return "something"
