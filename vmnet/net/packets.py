"""Make the bytes of ARP and IPv6 packets, and of the frames that carry them. Pure functions.

Programs that run as long as the VM use this module too. It therefore imports nothing else of vmnet
and little of the standard library, because every import stays in memory (bench/memory).
"""

from __future__ import annotations

import struct

ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD
ICMPV6, UDP = 58, 17
# ICMPv6 types (RFC 4861 section 4).
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
DHCP6_CLIENT_PORT, DHCP6_SERVER_PORT = 546, 547
BROADCAST = b"\xff" * 6
ETHERNET = struct.Struct("!6s6sH")
"""Ethernet's header: destination, source, EtherType."""
ARP = struct.Struct("!HHBBH6s4s6s4s")
"""An ARP packet (RFC 826): its four constants, operation, sender's MAC and address, target's."""
ARP_REQUEST, ARP_REPLY = 1, 2
IPV6 = struct.Struct("!IHBB16s16s")
"""IPv6's header (RFC 8200 section 3), with version, traffic class and flow label as one number."""
_HOP_LIMIT = 255  # which neighbour discovery requires (RFC 4861)


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def arp_request(mac: bytes, sender: bytes, target: bytes) -> bytes:
    """Return an ARP request.

    :param sender: an IPv4 address; zeros make a probe, the target makes an announcement (RFC 5227)
    """
    return ARP.pack(1, ETH_P_IP, 6, 4, ARP_REQUEST, mac, sender, bytes(6), target)


def ipv6(source: bytes, destination: bytes, next_header: int, payload: bytes) -> bytes:
    header = (6 << 28, len(payload), next_header, _HOP_LIMIT, source, destination)
    return IPV6.pack(*header) + payload


def icmp6(source: bytes, destination: bytes, message: bytes) -> bytes:
    """Return an IPv6 packet with an ICMPv6 message (RFC 4443).

    :param message: with zeros in place of its checksum
    """
    total = checksum(source, destination, ICMPV6, message)
    return ipv6(source, destination, ICMPV6, message[:2] + total + message[4:])


def checksum(source: bytes, destination: bytes, next_header: int, payload: bytes) -> bytes:
    """Return the checksum of an upper layer's packet (RFC 8200 section 8.1)."""
    data = source + destination + struct.pack("!II", len(payload), next_header) + payload
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def link_local(mac: bytes) -> bytes:
    """Return the link-local IPv6 address that a MAC makes (RFC 4291 appendix A)."""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:]))


def multicast_mac(group: bytes) -> bytes:
    """Return the MAC of an IPv6 multicast address (RFC 2464 section 7)."""
    return b"\x33\x33" + group[12:]
