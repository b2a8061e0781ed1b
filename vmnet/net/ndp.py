"""Neighbour discovery, as packets: who has an address, and who answers for it (RFC 4861)."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

from attrs import frozen

ETH_P_IPV6 = 0x86DD
_ICMPV6 = 58
_ECHO_REQUEST, _ECHO_REPLY, _SOLICITATION, _ADVERTISEMENT = 128, 129, 135, 136
_ALL_ROUTERS = IPv6Address("ff02::2")
_HEADER = struct.Struct("!IHBB16s16s")  # RFC 8200 section 3
_NEIGHBOUR = struct.Struct("!BxxxI16s")  # RFC 4861 section 4.3: type, flags, target


@frozen
class Question:
    """An ICMPv6 message, its checksum still zero."""

    destination: IPv6Address
    message: bytes

    @property
    def mac(self) -> bytes:
        """Where it goes on the link (RFC 2464 section 7)."""
        return b"\x33\x33" + self.destination.packed[12:]


def open_link(interface: str) -> socket.socket:
    """A socket for IPv6 packets on one interface.

    :raises OSError: raw sockets are not allowed here, or there is no such interface
    """
    # Protocol 0 at first: to change one takes the kernel 10 ms.
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    link.bind((interface, ETH_P_IPV6))
    return link


def answered(packet: bytes) -> IPv6Address | None:
    """The address for which a packet answers: an advertisement's target, an echo's source."""
    if len(packet) < _HEADER.size + 8:
        return None
    _, _, next_header, hop_limit, source, _ = _HEADER.unpack_from(packet)
    kind = packet[_HEADER.size]
    if next_header != _ICMPV6:
        return None
    if kind == _ECHO_REPLY:
        return IPv6Address(source)
    # Hop limit 255 proves that no router has forwarded it (RFC 4861 section 7.1.2).
    if kind == _ADVERTISEMENT and hop_limit == 255 and len(packet) >= 40 + _NEIGHBOUR.size:
        return IPv6Address(_NEIGHBOUR.unpack_from(packet, _HEADER.size)[2])
    return None


def who_has(target: IPv6Address, own: bytes) -> Question:
    """A neighbour solicitation to the target's solicited-node address, with our MAC in it."""
    node = IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + target.packed[13:])
    source_option = b"\x01\x01" + own
    return Question(node, _NEIGHBOUR.pack(_SOLICITATION, 0, target.packed) + source_option)


def all_routers() -> Question:
    """An echo request to every router."""
    return Question(_ALL_ROUTERS, struct.pack("!BxxxI", _ECHO_REQUEST, 0))


def packet(question: Question, own: bytes) -> bytes:
    """The question in an IPv6 packet from the link-local address that our MAC makes."""
    source, destination = link_local(own).packed, question.destination.packed
    length = len(question.message)
    pseudo = source + destination + struct.pack("!II", length, _ICMPV6)
    message = bytearray(question.message)
    message[2:4] = _checksum(pseudo + question.message).to_bytes(2, "big")
    return _HEADER.pack(6 << 28, length, _ICMPV6, 255, source, destination) + message


def _checksum(data: bytes) -> int:
    """RFC 1071; every message here is of even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def link_local(mac: bytes) -> IPv6Address:
    """RFC 4291 appendix A."""
    identifier = bytes((mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:]))
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)
