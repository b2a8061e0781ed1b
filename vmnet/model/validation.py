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
from vmnet.model.wiring import Bridge, Local, Outside, Port, Redirect, Stream, Wiring

Address = IPv4Address | IPv6Address

# RFC 791 and RFC 8200 section 5; the longest IP packet.
_MIN_MTU, _MIN_MTU6, _MAX_MTU = 68, 1280, 65535
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_NAME = re.compile(r"[^\s/:%]{1,15}")  # of an interface; the kernel's IFNAMSIZ
_FDS = range(3, 1 << 31)  # the standard streams, and an int of C


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
    own = [address.ip for port in wiring.ports for address in _own_addresses(port)]
    yield _repeated("the address", own)
    taps = (port.tap for port in wiring.ports)
    yield _repeated("the descriptor", (fd for tap in taps if tap is not None for fd in tap.fds))
    has_own = any(port.local is not None for port in wiring.ports)
    if wiring.nameserver is not None and has_own and wiring.nameserver not in own:
        yield f"the nameserver {wiring.nameserver} is no address of the container's own ends"


def _port_faults(port: Port, used: dict[IPv4Address, str]) -> Iterator[str]:
    """:param used: the container's addresses, with their interfaces"""
    for name in _names(port):
        if not _NAME.fullmatch(name) or name in (".", ".."):
            yield f"{name!r} cannot be the name of an interface"
    for mac in _macs(port):
        if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
            yield f"{mac!r} is no MAC of a station, such as 06:00:00:00:00:01"
    yield _mtu_fault(f"the MTU of {port.uplink}'s port", port.mtu, is_ipv6=False)
    tap = port.tap
    if tap is not None and not (tap.fds and all(fd in _FDS for fd in tap.fds)):
        yield f"{tap.name} has the descriptors {tap.fds}, not from {_FDS[0]} to {_FDS[-1]}"
    if port.local is not None:
        yield from _own_faults(port.local, port.local.addresses, used)
        if isinstance(port.backend, Stream):
            yield f"{port.local.device} is an own end, which requires a tap"
    elif isinstance(port.path, Bridge):
        yield f"the port of {port.uplink} has a bridge, but no own end, which is the bridge"
    if outside := _outside(port):
        yield from _own_faults(outside, outside.candidates[:1], used)
    if isinstance(port.path, Redirect) and (
        port.tap is None or port.local is None or port.local.device != port.tap.name
    ):
        yield f"the port of {port.uplink} is redirected, but its own end is no tap"


def _own_faults(
    local: Local | Outside, addresses: tuple[IPv4Interface, ...], used: dict[IPv4Address, str]
) -> Iterator[str]:
    for address in (*addresses, *local.spares):
        what = f"{local.device}'s address {address}"
        yield _host_fault(what, address)
        if address.ip in used:
            yield f"{what} is the guest's, on {used[address.ip]}"
        if address.ip == local.gateway:
            yield f"{what} is the gateway's"
    if local.gateway is not None:
        yield _unusable(f"{local.device}'s gateway {local.gateway}", local.gateway)


def _names(port: Port) -> Iterator[str]:
    """Yield the names of the port's devices, each once."""
    yield port.uplink
    tap = port.tap
    if tap is not None:
        yield tap.name
    if port.local is not None and (tap is None or port.local.device != tap.name):
        yield port.local.device
    if outside := _outside(port):
        yield outside.device


def _macs(port: Port) -> Iterator[str]:
    yield port.guest_mac
    if isinstance(port.path, Bridge):
        yield port.path.uplink_mac
    if port.local is not None:
        yield port.local.mac
    outside = _outside(port)
    if outside is not None and outside.mac != port.guest_mac:
        yield outside.mac


def _outside(port: Port) -> Outside | None:
    return port.path.outside if isinstance(port.path, Redirect) else None


def _own_addresses(port: Port) -> tuple[IPv4Interface, ...]:
    """Return the addresses of the own end, which may share one with the way out."""
    return () if port.local is None else port.local.addresses


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
