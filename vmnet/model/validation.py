"""Find addresses, routes and MTUs in a plugin's answer that no network can have. Pure functions.

Each function returns the first fault as text, such as ``eth0's address 127.0.0.1/8 is a loopback
address``; empty if there is none. :mod:`vmnet.model.mismatch` has checked the types before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from vmnet.model.base import first_fault
from vmnet.model.identity import Identity, Interface, Route
from vmnet.model.wiring import Port, Wiring

Address = IPv4Address | IPv6Address

# RFC 791 and RFC 8200 section 5; the longest IP packet.
_MIN_MTU, _MIN_MTU6, _MAX_MTU = 68, 1280, 65535
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_NAME = re.compile(r"[^\s/:%]{1,15}")  # of an interface; the kernel's IFNAMSIZ
_FIRST_FREE_FD = 3


def allocation_fault(before: Identity, after: Identity) -> str:
    """Check what an IPAM strategy allocated. A fault that was there before is not its own.

    :param before: the identity that the strategy received, with the same interfaces
    """
    earlier = frozenset(_allocation_faults(before, before))
    return first_fault(fault for fault in _allocation_faults(before, after) if fault not in earlier)


def _allocation_faults(before: Identity, after: Identity) -> Iterator[str]:
    taken: dict[Address, str] = {}
    for old, interface in zip(before.interfaces, after.interfaces, strict=True):
        for own in interface.addresses:
            what = f"{interface.name}'s address {own}"
            yield _host_fault(what, own)
            if own.ip in taken:
                yield f"{what} is an address of {taken[own.ip]} as well"
            taken[own.ip] = interface.name
        for route in interface.routes:
            yield from _route_faults(interface, route)
        yield _mtu_fault(f"{interface.name}'s MTU", interface.mtu, bool(interface.ipv6))
        if interface.mtu > old.mtu:
            yield f"{interface.name}'s MTU {interface.mtu} is larger than the NIC's ({old.mtu})"
    for what, address in _servers(after):
        yield _unusable(f"{what} {address}", address)


def _route_faults(interface: Interface, route: Route) -> Iterator[str]:
    what = f"{interface.name}'s route to {route.destination}"
    if route.mtu is not None:
        yield _mtu_fault(f"the MTU of {what}", route.mtu, is_ipv6=False)
    if not 0 <= route.metric < 1 << 32:
        yield f"{what} has the metric {route.metric}"
    own = {address.ip for address in interface.addresses}
    if route.source is not None and route.source not in own:
        yield f"{what} has the source {route.source}, which is no address of {interface.name}"
    gateway = route.gateway
    if gateway is None:
        return
    yield _unusable(f"the gateway {gateway} of {what}", gateway)
    if gateway.version != route.destination.version and gateway.version == 4:
        yield f"{what} has an IPv4 gateway, {gateway}"
    if gateway in own:
        yield f"the gateway {gateway} of {what} is an address of {interface.name} itself"
    if not (route.onlink or interface.is_neighbour(gateway) or _is_routed(interface, gateway)):
        yield f"the gateway {gateway} of {what} is outside the subnets of {interface.name}"


def _is_routed(interface: Interface, gateway: Address) -> bool:
    """Return whether a route on the link leads to the gateway, as with CNI's ptp plugin."""
    return any(
        route.gateway is None
        and route.destination.version == gateway.version
        and gateway in route.destination
        for route in interface.routes
    )


def _servers(identity: Identity) -> Iterator[tuple[str, Address]]:
    yield from (("the nameserver", address) for address in identity.resolver.nameservers)
    yield from (("the time server", address) for address in identity.ntp)
    yield from (("the host", host.address) for host in identity.hosts)


def wiring_fault(wiring: Wiring, identity: Identity) -> str:
    """Check the wiring that a bridge strategy planned for an identity."""
    if len(wiring.ports) != len(identity.interfaces):
        return f"{len(wiring.ports)} ports for {len(identity.interfaces)} interfaces"
    return first_fault(_wiring_faults(wiring, identity))


def _wiring_faults(wiring: Wiring, identity: Identity) -> Iterator[str]:
    used = {own.ip: interface.name for interface in identity.interfaces for own in interface.ipv4}
    for interface, port in wiring.pairs(identity):
        if (port.uplink, port.guest_mac) != (interface.name, interface.mac):
            yield (
                f"the port of {interface.name} ({interface.mac}) has the uplink {port.uplink} "
                f"({port.guest_mac})"
            )
        yield from _port_faults(port, used)
    yield _repeated("the name", (name for port in wiring.ports for name in _names(port)))
    yield _repeated("the MAC", (mac for port in wiring.ports for mac in _macs(port)))
    yield _repeated(
        "the address", (own.ip for port in wiring.ports for own in _bridge_addresses(port))
    )
    yield _repeated("the descriptor", (fd for port in wiring.ports for fd in port.tap_fds))
    own = {address.ip for port in wiring.ports for address in _bridge_addresses(port)}
    if wiring.nameserver is not None and wiring.nameserver not in own:
        yield f"the nameserver {wiring.nameserver} is no address of a bridge"


def _port_faults(port: Port, used: dict[IPv4Address, str]) -> Iterator[str]:
    """:param used: the container's addresses, with their interfaces"""
    for name in _names(port):
        if not _NAME.fullmatch(name) or name in (".", ".."):
            yield f"{name!r} cannot be the name of an interface"
    for mac in _macs(port):
        if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
            yield f"{mac!r} is no MAC of a station, such as 06:00:00:00:00:01"
    yield _mtu_fault(f"{port.bridge}'s MTU", port.mtu, is_ipv6=False)
    for address in (*_bridge_addresses(port), *port.spares):
        what = f"{port.bridge}'s address {address}"
        yield _host_fault(what, address)
        if address.ip in used:
            yield f"{what} is the guest's, on {used[address.ip]}"
        if address.ip == port.gateway:
            yield f"{what} is the gateway's"
    if not port.tap_fds or min(port.tap_fds) < _FIRST_FREE_FD:
        yield f"{port.tap} has the descriptors {port.tap_fds}; they begin at {_FIRST_FREE_FD}"
    if port.gateway is not None:
        yield _unusable(f"{port.bridge}'s gateway {port.gateway}", port.gateway)


def _names(port: Port) -> tuple[str, str, str]:
    return port.uplink, port.bridge, port.tap


def _macs(port: Port) -> tuple[str, str, str]:
    return port.guest_mac, port.uplink_mac, port.bridge_mac


def _bridge_addresses(port: Port) -> tuple[IPv4Interface, ...]:
    return tuple(filter(None, (port.bridge_address, port.link_local)))


def _host_fault(what: str, own: IPv4Interface | IPv6Interface) -> str:
    """Check an address of a host with its prefix length."""
    if own.ip.is_loopback:
        return f"{what} is a loopback address"
    if own.version == 6 and own.ip.is_link_local:
        return f"{what} is link-local, which the guest makes itself"
    if own.network.num_addresses > 2:
        if own.ip == own.network.network_address:
            return f"{what} is the address of the network itself"
        if own.version == 4 and own.ip == own.network.broadcast_address:
            return f"{what} is the broadcast address"
    return _unusable(what, own.ip)


def _unusable(what: str, address: Address) -> str:
    if address.is_unspecified:
        return f"{what} is unspecified"
    if address.is_multicast:
        return f"{what} is a multicast address"
    if int(address) == 0xFFFFFFFF and address.version == 4:
        return f"{what} is the broadcast address"
    return ""


def _mtu_fault(what: str, mtu: int, is_ipv6: bool) -> str:
    least = _MIN_MTU6 if is_ipv6 else _MIN_MTU
    return "" if least <= mtu <= _MAX_MTU else f"{what} is {mtu}, not {least} to {_MAX_MTU}"


def _repeated(what: str, values: Iterable[object]) -> str:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            return f"{what} {value} occurs twice"
        seen.add(value)
    return ""
