"""Router discovery, and a stand-in for a router without a link-local address. Pure functions.

The messages have the router's address as their source, so the guest's default router is the
network's gateway, which the guest resolves and reaches across the bridge.
"""

from __future__ import annotations

import struct

from vmnet.net import packets

from . import frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet_dnsmasq.ipv6 import Ipv6Nic

# Seconds: the longest lifetime of a router (section 6.2.1), and the time between advertisements.
_LIFETIME, REFRESH_SECONDS = 9000, 600
_FOR_EVER = 0xFFFFFFFF
_HOP_LIMIT = 64
_MANAGED_AND_OTHER = 0xC0  # addresses and all else by DHCPv6
_LOW_PREFERENCE = 0x18  # RFC 4191 section 2.2
_ON_LINK = 0x80  # without the flag "autonomous": the guest makes no address from the prefix
_FROM_ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29
# Bytes of a packet on the smallest IPv6 link (RFC 8200 section 5), without the IPv6 header.
_ROOM = 1280 - 40
_UNSPECIFIED = bytes(16)


class Router:
    """The router of one NIC, as the guest sees it."""

    def __init__(self, nic: Ipv6Nic) -> None:
        self._address = frame.address(nic.router)
        self._stand_in = packets.mac_bytes(nic.stand_in)
        self._mac = packets.mac_bytes(nic.server)
        self.advertisements = [
            frame.icmp6(frame.ALL_NODES_MAC + self._mac, self._address, frame.ALL_NODES, message)
            for message in advertisements(nic)
        ]

    def answer(self, packet: frame.Packet) -> list[bytes]:
        """Return frames that answer a packet; none if it is malformed or not for a router.

        A solicitation is answered to all nodes (RFC 4861 section 6.2.6); only the guest hears it.
        """
        payload = packet.payload
        # RFC 4861 sections 6.1.1 and 7.1.1
        if packet.next_header != packets.ICMPV6 or packet.hop_limit != 255 or len(payload) < 8:
            return []
        if payload[:2] == bytes((packets.ROUTER_SOLICITATION, 0)):
            return self.advertisements
        asked_for = payload[:2] == bytes((packets.NEIGHBOUR_SOLICITATION, 0)) and payload[8:24]
        if self._stand_in and asked_for == self._address:
            return [self._resolve(packet)]
        return []

    def _resolve(self, packet: frame.Packet) -> bytes:
        """Resolve the stand-in's address, which the gateway does not know, to the gateway's MAC."""
        flags, mac, to = _FROM_ROUTER | _SOLICITED | _OVERRIDE, packet.mac, packet.source
        if to == _UNSPECIFIED:  # duplicate address detection (section 7.2.4)
            flags, mac, to = flags ^ _SOLICITED, frame.ALL_NODES_MAC, frame.ALL_NODES
        message = struct.pack("!BxxxI", packets.NEIGHBOUR_ADVERTISEMENT, flags) + self._address
        return frame.icmp6(mac + self._mac, self._address, to, message + _option(2, self._stand_in))


def advertisements(nic: Ipv6Nic) -> list[bytes]:
    """Return as few router advertisements (RFC 4861 section 4.2) as contain all options."""
    preference = _LOW_PREFERENCE if nic.default and not nic.preferred else 0
    flags, lifetime = _MANAGED_AND_OTHER | preference, _LIFETIME if nic.default else 0
    header = struct.pack(
        "!BxxxBBHII", packets.ROUTER_ADVERTISEMENT, _HOP_LIMIT, flags, lifetime, 0, 0
    )
    messages = [header]
    for option in _options(nic):
        if len(messages[-1]) + len(option) > _ROOM:
            messages.append(header)
        messages[-1] += option
    return messages


def _options(nic: Ipv6Nic) -> Iterator[bytes]:
    if nic.mtu >= 1280:
        yield _option(5, struct.pack("!xxI", nic.mtu))
    for text in nic.on_link:  # prefix information (section 4.6.2)
        prefix, length = _split(text)
        head = struct.pack("!BBIIxxxx", length, _ON_LINK, _FOR_EVER, _FOR_EVER)
        yield _option(3, head + prefix)
    for text in nic.routes:  # RFC 4191 section 2.3
        prefix, length = _split(text)
        yield _option(24, struct.pack("!BxI", length, _LIFETIME) + prefix)
    alive = struct.pack("!xxI", _LIFETIME)
    for text in nic.nameservers:  # RFC 8106
        yield _option(25, alive + frame.address(text))
    for text in nic.search:
        yield _option(31, alive + frame.name(text) + b"\0")


def _option(kind: int, content: bytes) -> bytes:
    """Return an option; its length counts units of eight bytes, and includes kind and length."""
    padded = content + bytes(-(2 + len(content)) % 8)
    return bytes((kind, (2 + len(padded)) // 8)) + padded


def _split(text: str) -> tuple[bytes, int]:
    prefix, _, length = text.partition("/")
    return frame.address(prefix), int(length)
