"""Packets of IPv6 neighbour discovery: questions and their answers (RFC 4861)."""

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
    """An ICMPv6 message whose checksum is still zero, and its destination."""

    destination: IPv6Address
    message: bytes

    @property
    def mac(self) -> bytes:
        """The destination's multicast MAC (RFC 2464 section 7)."""
        return b"\x33\x33" + self.destination.packed[12:]


def open_link(interface: str) -> socket.socket:
    """Return a packet socket for IPv6 on an interface.

    :raises OSError: the process may not open raw sockets, or the interface does not exist
    """
    # Protocol 0 at first: the kernel takes 10 ms to replace any other protocol.
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    link.bind((interface, ETH_P_IPV6))
    return link


def answered(packet: bytes) -> IPv6Address | None:
    """Return the address that a packet answers for.

    This is the target of a neighbour advertisement, or the source of an echo reply.
    """
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
    """Return a neighbour solicitation to the target's solicited-node address.

    :param own: the sender's MAC, which becomes the source link-layer address option
    """
    node = IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + target.packed[13:])
    source_option = b"\x01\x01" + own
    return Question(node, _NEIGHBOUR.pack(_SOLICITATION, 0, target.packed) + source_option)


def all_routers() -> Question:
    """Return an echo request to all routers."""
    return Question(_ALL_ROUTERS, struct.pack("!BxxxI", _ECHO_REQUEST, 0))


def packet(question: Question, own: bytes) -> bytes:
    """Return the question as an IPv6 packet from the link-local address of a MAC.

    :param own: the sender's MAC
    """
    source, destination = link_local(own).packed, question.destination.packed
    length = len(question.message)
    pseudo = source + destination + struct.pack("!II", length, _ICMPV6)
    message = bytearray(question.message)
    message[2:4] = _checksum(pseudo + question.message).to_bytes(2, "big")
    return _HEADER.pack(6 << 28, length, _ICMPV6, 255, source, destination) + message


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of data of even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def link_local(mac: bytes) -> IPv6Address:
    """Return the link-local address of a MAC (RFC 4291 appendix A)."""
    identifier = bytes((mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:]))
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)
