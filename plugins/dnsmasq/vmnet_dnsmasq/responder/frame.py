"""Read and make Ethernet frames with IPv6 packets; make ARP requests. Pure functions.

Checksums are made but not verified: the guest's frames reach the tap through memory, and checksum
offload may leave their checksums incomplete.
"""

from __future__ import annotations

import socket
import struct

ICMPV6, UDP = 58, 17
_ETHERTYPE, _BROADCAST = b"\x86\xdd", b"\xff" * 6
_HEADS = struct.Struct("!6s6s2sIHBB16s16s")  # Ethernet's; RFC 8200 section 3


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
    if len(frame) < _HEADS.size:
        return None
    _, mac, kind, version, length, next_header, hops, source, target = _HEADS.unpack_from(frame)
    payload = frame[_HEADS.size : _HEADS.size + length]
    if kind != _ETHERTYPE or version >> 28 != 6 or len(payload) != length:
        return None
    return Packet(mac, source, target, next_header, hops, payload)


def icmp6(macs: bytes, source: bytes, destination: bytes, message: bytes) -> bytes:
    """Return a frame with an ICMPv6 message.

    :param macs: the receiver's MAC and the sender's
    :param message: with zeros in place of its checksum
    """
    total = checksum(source, destination, ICMPV6, message)
    return _packet(macs, source, destination, ICMPV6, message[:2] + total + message[4:])


def arp(mac: bytes, sender: bytes, target: bytes) -> bytes:
    """Return a frame with a broadcast ARP request (RFC 826).

    :param sender: an IPv4 address; zeros make a probe, the target makes an announcement (RFC 5227)
    """
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return _BROADCAST + mac + b"\x08\x06" + head + mac + sender + bytes(6) + target


def udp(
    macs: bytes, source: bytes, destination: bytes, ports: tuple[int, int], data: bytes
) -> bytes:
    """Return a frame with a UDP datagram.

    :param ports: source and destination
    """
    header = struct.pack("!HHH", *ports, 8 + len(data))
    total = checksum(source, destination, UDP, header + bytes(2) + data)
    if not any(total):
        total = b"\xff\xff"  # zero means that there is no checksum (RFC 768)
    return _packet(macs, source, destination, UDP, header + total + data)


def _packet(
    macs: bytes, source: bytes, destination: bytes, next_header: int, payload: bytes
) -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 255)
    return macs + _ETHERTYPE + header + source + destination + payload


def checksum(source: bytes, destination: bytes, next_header: int, payload: bytes) -> bytes:
    """Return the checksum of RFC 8200 section 8.1."""
    data = source + destination + struct.pack("!II", len(payload), next_header) + payload
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def link_local(mac: bytes) -> bytes:
    """Return the link-local address that a MAC makes (RFC 4291 appendix A)."""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:]))


def name(text: str) -> bytes:
    """Return a domain name in DNS encoding (RFC 1035 section 3.1), without its last zero byte."""
    labels = filter(None, text.encode().split(b"."))
    return b"".join(bytes((len(label),)) + label for label in labels)


ALL_NODES = address("ff02::1")
ALL_NODES_MAC = b"\x33\x33" + ALL_NODES[12:]  # RFC 2464 section 7
