"""Frames that a guest may send, and frames that it must not send."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from attrs import evolve

from vmnet import testing
from vmnet.model.wiring import Local, Port, Sender, Wiring

MAC, OTHER_MAC = bytes.fromhex("0242ac110002"), bytes.fromhex("0242ac110003")
OWN4, OWN4_TOO, OTHER4, GATEWAY4 = "172.17.0.2", "172.17.0.200", "172.17.0.3", "172.17.0.1"
OWN6, OWN6_TOO, OTHER6 = "fd00:17::2", "fd00:17::200", "fd00:17::3"
LINK_LOCAL, PRIVACY, ROUTER = "fe80::42:acff:fe11:2", "fe80::9c1b:5f:3d2e:77a1", "fe80::1"
OWN = Sender(tuple(map(ip_address, (OWN4, OWN4_TOO, OWN6, OWN6_TOO))), (IPv6Address(ROUTER),))
ANY = Sender(None, (IPv6Address(ROUTER),))

TCP, UDP, ICMP, ICMP6, FRAGMENT, HOP_BY_HOP, ROUTING, DESTINATION = 6, 17, 1, 58, 44, 0, 43, 60
MORE = 0x2000
ALL_NODES = "ff02::1"


def port(**changes: Any) -> Port:
    """Return the port of a guest with the address OWN4."""
    (wired,) = testing.wiring(testing.identity(testing.interface(f"{OWN4}/16"))).ports
    return evolve(wired, **changes)


def bridge(**changes: Any) -> Local:
    """Return the bridge of :func:`port`."""
    return evolve(testing.local(Wiring((port(),))), **changes)


def ethernet(kind: int, payload: bytes, *, mac: bytes = MAC) -> bytes:
    return b"\xff" * 6 + mac + struct.pack("!H", kind) + payload


def arp(source: str, *, mac: bytes = MAC, target: str = GATEWAY4, operation: int = 1) -> bytes:
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    body = mac + IPv4Address(source).packed + bytes(6) + IPv4Address(target).packed
    return ethernet(0x0806, head + body)


def ipv4(
    source: str, protocol: int, payload: bytes, *, options: bytes = b"", fragment: int = 0
) -> bytes:
    """Return a packet with a correct checksum, which a host that filters bridged packets checks."""
    words = 5 + len(options) // 4
    length = 4 * words + len(payload)
    addresses = IPv4Address(source).packed + IPv4Address("255.255.255.255").packed

    def head(checksum: int) -> bytes:
        fields = (0x40 | words, 0, length, 1, fragment, 64, protocol, checksum)
        return struct.pack("!BBHHHBBH", *fields) + addresses + options

    total = sum(struct.unpack(f"!{2 * words}H", head(0)))
    total = (total & 0xFFFF) + (total >> 16)
    return ethernet(0x0800, head(~total & 0xFFFF) + payload)


def ipv6(source: str, next_header: int, payload: bytes, *, target: str = ALL_NODES) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 255)
    addresses = IPv6Address(source).packed + IPv6Address(target).packed
    return ethernet(0x86DD, head + addresses + payload)


def ports(source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 32, 0) + bytes(24)


def message(kind: int, target: str = "::") -> bytes:
    """Return an ICMPv6 message.

    :param target: the target address of a message of neighbour discovery
    """
    return struct.pack("!BBHI", kind, 0, 0, 0) + IPv6Address(target).packed + bytes(8)


def igmp(kind: int) -> bytes:
    """Return a message with a router alert (RFC 3376 section 4)."""
    return ipv4(OWN4, 2, bytes((kind,)) + bytes(11), options=bytes.fromhex("94040000"))


def listener_report(kind: int = 143) -> bytes:
    """Return a hop-by-hop header with a router alert (RFC 2711) and padding, and a report."""
    return bytes((ICMP6, 0, 5, 2, 0, 0, 1, 0)) + message(kind)


def fragment(next_header: int, payload: bytes, *, offset: int = 0, more: bool = True) -> bytes:
    return struct.pack("!BBHI", next_header, 0, offset << 3 | more, 7) + payload


def extension(next_header: int, payload: bytes) -> bytes:
    """Return a header with eight bytes of padding (RFC 8200 section 4.2), and its payload."""
    return bytes((next_header, 0, 1, 4, 0, 0, 0, 0)) + payload


EVERYDAY = {
    "arp request": arp(OWN4),
    "arp reply": arp(OWN4, operation=2),
    "gratuitous arp": arp(OWN4, target=OWN4),
    "arp probe": arp("0.0.0.0", target=OWN4),
    "arp from the second address": arp(OWN4_TOO),
    "tcp": ipv4(OWN4, TCP, ports(40000, 80)),
    "second address": ipv4(OWN4_TOO, TCP, ports(40000, 80)),
    "dns": ipv4(OWN4, UDP, ports(40000, 53)),
    "ping": ipv4(OWN4, ICMP, bytes((8, 0)) + bytes(30)),
    "unreachable": ipv4(OWN4, ICMP, bytes((3, 1)) + bytes(30)),
    "first fragment": ipv4(OWN4, UDP, ports(40000, 53), fragment=MORE),
    "later fragment": ipv4(OWN4, UDP, ports(68, 68), fragment=185),
    "dhcp discover": ipv4("0.0.0.0", UDP, ports(68, 67)),
    "dhcp renewal": ipv4(OWN4, UDP, ports(68, 67)),
    **{
        f"igmp {kind:#x}": igmp(kind)
        for kind in (0x12, 0x16, 0x17, 0x22)  # reports, leave
    },
    "tcp6": ipv6(OWN6, TCP, ports(40000, 80)),
    "second ipv6 address": ipv6(OWN6_TOO, TCP, ports(40000, 80)),
    "ping6": ipv6(OWN6, ICMP6, message(128)),
    "ping6 from a link-local address": ipv6(LINK_LOCAL, ICMP6, message(128)),
    "solicitation": ipv6(OWN6, ICMP6, message(135, OTHER6)),
    "solicitation of the router": ipv6(LINK_LOCAL, ICMP6, message(135, ROUTER)),
    "advertisement": ipv6(OWN6, ICMP6, message(136, OWN6)),
    "advertisement of a link-local address": ipv6(PRIVACY, ICMP6, message(136, PRIVACY)),
    "duplicate address detection": ipv6("::", ICMP6, message(135, OWN6)),
    "duplicate address detection, link-local": ipv6("::", ICMP6, message(135, PRIVACY)),
    "router solicitation": ipv6(LINK_LOCAL, ICMP6, message(133)),
    "router solicitation without an address": ipv6("::", ICMP6, message(133)),
    "listener report": ipv6(LINK_LOCAL, HOP_BY_HOP, listener_report()),
    "listener report without an address": ipv6("::", HOP_BY_HOP, listener_report()),
    "listener done": ipv6(LINK_LOCAL, HOP_BY_HOP, listener_report(132)),
    "dhcpv6": ipv6(LINK_LOCAL, UDP, ports(546, 547)),
    "fragment of udp6": ipv6(OWN6, FRAGMENT, fragment(UDP, ports(40000, 53))),
    "fragment of a ping6": ipv6(OWN6, FRAGMENT, fragment(ICMP6, message(128))),
    "later fragment of icmpv6": ipv6(OWN6, FRAGMENT, fragment(ICMP6, message(134), offset=100)),
    "ipsec": ipv6(OWN6, 50, bytes(40)),
}

# Frames that no filtered guest may send.
ROGUE = {
    "another mac": ethernet(0x0800, ipv4(OWN4, TCP, ports(1, 2))[14:], mac=OTHER_MAC),
    "another mac in arp": arp(OWN4, mac=OTHER_MAC),
    "dhcp answer": ipv4(OWN4, UDP, ports(67, 68)),
    "dhcp answer behind options": ipv4(OWN4, UDP, ports(67, 68), options=bytes(40)),
    "dhcp answer from another port": ipv4(OWN4, UDP, ports(4000, 68)),
    "dhcp answer in fragments": ipv4(OWN4, UDP, ports(67, 68), fragment=MORE),
    "redirect": ipv4(OWN4, ICMP, bytes((5, 1)) + bytes(30)),
    "icmp router advertisement": ipv4(OWN4, ICMP, bytes((9, 0)) + bytes(30)),
    "router advertisement": ipv6(LINK_LOCAL, ICMP6, message(134)),
    "router advertisement from the guest's address": ipv6(OWN6, ICMP6, message(134)),
    "redirect6": ipv6(LINK_LOCAL, ICMP6, message(137)),
    "dhcpv6 answer": ipv6(LINK_LOCAL, UDP, ports(547, 546)),
    "dhcpv6 answer in fragments": ipv6(LINK_LOCAL, FRAGMENT, fragment(UDP, ports(547, 546))),
    "router advertisement behind options": ipv6(
        LINK_LOCAL, DESTINATION, extension(ICMP6, message(134))
    ),
    "router advertisement behind a hop-by-hop header": ipv6(
        LINK_LOCAL, HOP_BY_HOP, extension(ICMP6, message(134))
    ),
    "router advertisement behind two headers": ipv6(
        LINK_LOCAL, HOP_BY_HOP, extension(DESTINATION, extension(ICMP6, message(134)))
    ),
    "router advertisement behind a routing header": ipv6(
        LINK_LOCAL, ROUTING, extension(ICMP6, message(134))
    ),
    "router advertisement behind a long hop-by-hop header": ipv6(
        LINK_LOCAL, HOP_BY_HOP, bytes((ICMP6, 1, 1, 12)) + bytes(12) + message(134)
    ),
    "router advertisement in a fragment": ipv6(LINK_LOCAL, FRAGMENT, fragment(ICMP6, message(134))),
    "router advertisement in the only fragment": ipv6(
        LINK_LOCAL, FRAGMENT, fragment(ICMP6, message(134), more=False)
    ),
    "router advertisement behind options in a fragment": ipv6(
        LINK_LOCAL, FRAGMENT, fragment(DESTINATION, extension(ICMP6, message(134)))
    ),
    "router advertisement in a fragment of a fragment": ipv6(
        LINK_LOCAL, FRAGMENT, fragment(FRAGMENT, fragment(ICMP6, message(134)))
    ),
    # Queries, DVMRP (RFC 1075), advertisements of multicast routers (RFC 4286).
    **{f"igmp {kind:#x}": igmp(kind) for kind in (0x11, 0x13, 0x30)},
    "igmp query without a router alert": ipv4(OWN4, 2, bytes((0x11,)) + bytes(11)),
    "igmp query in fragments": ipv4(OWN4, 2, bytes((0x11,)) + bytes(11), fragment=MORE),
    "multicast listener query": ipv6(LINK_LOCAL, HOP_BY_HOP, listener_report(130)),
    "multicast router advertisement": ipv6(LINK_LOCAL, HOP_BY_HOP, listener_report(151)),
    "multicast listener query without a router alert": ipv6(LINK_LOCAL, ICMP6, message(130)),
    "multicast router advertisement without a router alert": ipv6(LINK_LOCAL, ICMP6, message(151)),
    "multicast listener query in fragments": ipv6(
        LINK_LOCAL, FRAGMENT, fragment(ICMP6, message(130))
    ),
    "two vlan tags": ethernet(0x8100, struct.pack("!HH", 5, 0x0806) + arp(OWN4)[14:]),
    "a service tag": ethernet(0x88A8, struct.pack("!HH", 5, 0x0806) + arp(OWN4)[14:]),
}

# Frames that only a guest whose addresses are unknown may send.
FOREIGN = {
    "arp request": arp(OTHER4),
    "arp reply": arp(OTHER4, operation=2),
    "arp reply of the gateway": arp(GATEWAY4, operation=2),
    "ipv4": ipv4(OTHER4, TCP, ports(40000, 80)),
    "ipv4 behind options": ipv4(OTHER4, TCP, ports(40000, 80), options=bytes(40)),
    "later fragment": ipv4(OTHER4, UDP, ports(1, 2), fragment=185),
    "multicast as source": ipv4("224.0.0.1", UDP, ports(1, 2)),
    "no address": ipv4("0.0.0.0", TCP, ports(40000, 80)),
    "no address, not to a dhcp server": ipv4("0.0.0.0", UDP, ports(68, 69)),
    "no address, in fragments": ipv4("0.0.0.0", UDP, ports(68, 67), fragment=MORE),
    "ipv6": ipv6(OTHER6, TCP, ports(40000, 80)),
    "ipv6 in fragments": ipv6(OTHER6, FRAGMENT, fragment(UDP, ports(1, 2))),
    "ipv6 later fragment": ipv6(OTHER6, FRAGMENT, fragment(UDP, ports(1, 2), offset=9)),
    "solicitation": ipv6(OTHER6, ICMP6, message(135, ROUTER)),
    "advertisement": ipv6(OWN6, ICMP6, message(136, OTHER6)),
    "advertisement from a link-local address": ipv6(LINK_LOCAL, ICMP6, message(136, OTHER6)),
    "duplicate detection of a neighbour's address": ipv6("::", ICMP6, message(135, OTHER6)),
    "no ipv6 address": ipv6("::", UDP, ports(546, 547)),
    "the prefix only": ipv6("fd00:17::", TCP, ports(40000, 80)),
    "lldp": ethernet(0x88CC, bytes(60)),
    "spanning tree": ethernet(38, bytes.fromhex("424203") + bytes(35)),
}

# Frames with the link-local address of a known router.
ROUTERS = {
    "router's address": ipv6(ROUTER, ICMP6, message(128)),
    "advertisement of the router": ipv6(LINK_LOCAL, ICMP6, message(136, ROUTER)),
    "duplicate detection of the router's address": ipv6("::", ICMP6, message(135, ROUTER)),
}
