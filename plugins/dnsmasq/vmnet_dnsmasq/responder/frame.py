"""Read and make Ethernet frames with IPv6 packets. Pure functions.

Checksums are made but not verified: the guest's frames reach the tap through memory, and checksum
offload may leave their checksums incomplete.
"""

from __future__ import annotations

import socket
import struct

from vmnet.net import packets

_HEADERS = packets.ETHERNET.size + packets.IPV6.size
_ETHERTYPE = packets.ETH_P_IPV6.to_bytes(2, "big")


class Packet:
    """A received IPv6 packet.

    :param mac: the sender's MAC
    :param payload: the bytes after the IPv6 header; extension headers are not supported
    """

    __slots__ = ("destination", "hop_limit", "mac", "next_header", "payload", "source")

    def __init__(
        self,
        mac: bytes,
        source: bytes,
        destination: bytes,
        next_header: int,
        hop_limit: int,
        payload: bytes,
    ) -> None:
        self.mac = mac
        self.source = source
        self.destination = destination
        self.next_header = next_header
        self.hop_limit = hop_limit
        self.payload = payload


def read(frame: bytes) -> Packet | None:
    """Return the IPv6 packet in a frame; None if there is none, or if it is truncated."""
    if len(frame) < _HEADERS:
        return None
    _, mac, kind = packets.ETHERNET.unpack_from(frame)
    header = packets.IPV6.unpack_from(frame, packets.ETHERNET.size)
    version, length, next_header, hops, source, target = header
    payload = frame[_HEADERS : _HEADERS + length]
    if kind != packets.ETH_P_IPV6 or version >> 28 != 6 or len(payload) != length:
        return None
    return Packet(mac, source, target, next_header, hops, payload)


def icmp6(macs: bytes, source: bytes, destination: bytes, message: bytes) -> bytes:
    """Return a frame with an ICMPv6 message.

    :param macs: the receiver's MAC and the sender's
    :param message: with zeros in place of its checksum
    """
    return macs + _ETHERTYPE + packets.icmp6(source, destination, message)


def udp(
    macs: bytes, source: bytes, destination: bytes, ports: tuple[int, int], data: bytes
) -> bytes:
    """Return a frame with a UDP datagram.

    :param ports: source and destination
    """
    header = struct.pack("!HHH", *ports, 8 + len(data))
    total = packets.checksum(source, destination, packets.UDP, header + bytes(2) + data)
    if not any(total):
        total = b"\xff\xff"  # zero means that there is no checksum (RFC 768)
    datagram = header + total + data
    return macs + _ETHERTYPE + packets.ipv6(source, destination, packets.UDP, datagram)


def address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def name(text: str) -> bytes:
    """Return a domain name in DNS encoding (RFC 1035 section 3.1), without its last zero byte."""
    labels = filter(None, text.encode().split(b"."))
    return b"".join(bytes((len(label),)) + label for label in labels)


ALL_NODES = address("ff02::1")
ALL_NODES_MAC = packets.multicast_mac(ALL_NODES)
