"""Packets of IPv6 neighbour discovery: questions and their answers (RFC 4861)."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

from attrs import frozen

from vmnet.net import packets

_ECHO_REQUEST, _ECHO_REPLY = 128, 129
_ALL_ROUTERS = IPv6Address("ff02::2")
_NEIGHBOUR = struct.Struct("!BxxxI16s")  # RFC 4861 section 4.3: type, flags, target


@frozen
class Question:
    """An ICMPv6 message whose checksum is still zero, and its destination."""

    destination: IPv6Address
    message: bytes

    @property
    def mac(self) -> bytes:
        """The destination's multicast MAC."""
        return packets.multicast_mac(self.destination.packed)


def open_link(interface: str) -> socket.socket:
    """Return a packet socket for IPv6 on an interface.

    :raises OSError: the process may not open raw sockets, or the interface does not exist
    """
    # Protocol 0 at first: the kernel takes 10 ms to replace any other protocol.
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    link.bind((interface, packets.ETH_P_IPV6))
    return link


def answered(packet: bytes) -> IPv6Address | None:
    """Return the address that a packet answers for.

    This is the target of a neighbour advertisement, or the source of an echo reply.
    """
    if len(packet) < packets.IPV6.size + 8:
        return None
    _, _, next_header, hop_limit, source, _ = packets.IPV6.unpack_from(packet)
    kind = packet[packets.IPV6.size]
    if next_header != packets.ICMPV6:
        return None
    if kind == _ECHO_REPLY:
        return IPv6Address(source)
    is_whole = len(packet) >= packets.IPV6.size + _NEIGHBOUR.size
    # Hop limit 255 proves that no router has forwarded it (RFC 4861 section 7.1.2).
    if kind == packets.NEIGHBOUR_ADVERTISEMENT and hop_limit == 255 and is_whole:
        return IPv6Address(_NEIGHBOUR.unpack_from(packet, packets.IPV6.size)[2])
    return None


def who_has(target: IPv6Address, own: bytes) -> Question:
    """Return a neighbour solicitation to the target's solicited-node address.

    :param own: the sender's MAC, which becomes the source link-layer address option
    """
    node = IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + target.packed[13:])
    source_option = b"\x01\x01" + own
    return Question(
        node, _NEIGHBOUR.pack(packets.NEIGHBOUR_SOLICITATION, 0, target.packed) + source_option
    )


def all_routers() -> Question:
    """Return an echo request to all routers."""
    return Question(_ALL_ROUTERS, struct.pack("!BxxxI", _ECHO_REQUEST, 0))


def packet(question: Question, own: bytes) -> bytes:
    """Return the question as an IPv6 packet from the link-local address of a MAC.

    :param own: the sender's MAC
    """
    return packets.icmp6(packets.link_local(own), question.destination.packed, question.message)


def link_local(mac: bytes) -> IPv6Address:
    """Return the link-local address that a MAC makes."""
    return IPv6Address(packets.link_local(mac))
