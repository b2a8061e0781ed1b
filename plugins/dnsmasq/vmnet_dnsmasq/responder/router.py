"""Router discovery and, where the router has no link-local address, its stand-in. Pure functions.

The messages come from the router's own address, so the guest's default router is the network's
gateway, which it then resolves and reaches across the bridge by itself.
"""

from __future__ import annotations

import struct

from . import frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet_dnsmasq.ipv6 import Nic

SOLICITATION, ADVERTISEMENT, NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT = 133, 134, 135, 136
# A router is to be one for 2.5 hours, the most there is (section 6.2.1), unless told again.
_LIFETIME, REFRESH_SECONDS = 9000, 600
_FOR_EVER = 0xFFFFFFFF
_HOP_LIMIT = 64
_MANAGED_AND_OTHER = 0xC0  # addresses and all else come by DHCPv6
_LOW_PREFERENCE = 0x18  # RFC 4191 section 2.2
_ON_LINK = 0x80  # and not "autonomous": no address is to be made of the prefix
_FROM_ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29
# What the smallest IPv6 link carries (RFC 8200 section 5), less its header.
_ROOM = 1280 - 40
_UNSPECIFIED = bytes(16)


class Router:
    """What the guest hears from the router of one NIC."""

    def __init__(self, nic: Nic) -> None:
        self._address = frame.address(nic.router)
        self._stand_in = frame.mac(nic.stand_in)
        self._mac = frame.mac(nic.server)
        self.advertisements = [
            frame.icmp6(frame.ALL_NODES_MAC + self._mac, self._address, frame.ALL_NODES, message)
            for message in advertisements(nic)
        ]

    def answer(self, packet: frame.Packet) -> list[bytes]:
        """Frames that answer a packet; none if it is not for a router, or malformed.

        What one asks is told to all nodes (RFC 4861 section 6.2.6): only the guest can hear it.
        """
        payload = packet.payload
        # RFC 4861 sections 6.1.1 and 7.1.1
        if packet.next_header != frame.ICMPV6 or packet.hop_limit != 255 or len(payload) < 8:
            return []
        if payload[:2] == bytes((SOLICITATION, 0)):
            return self.advertisements
        asked_for = payload[:2] == bytes((NEIGHBOUR_SOLICITATION, 0)) and payload[8:24]
        if self._stand_in and asked_for == self._address:
            return [self._resolve(packet)]
        return []

    def _resolve(self, packet: frame.Packet) -> bytes:
        """The gateway's MAC, for an address that the gateway does not know to be its own."""
        flags, mac, to = _FROM_ROUTER | _SOLICITED | _OVERRIDE, packet.mac, packet.source
        if to == _UNSPECIFIED:  # it looks for a duplicate (section 7.2.4)
            flags, mac, to = flags ^ _SOLICITED, frame.ALL_NODES_MAC, frame.ALL_NODES
        message = struct.pack("!BxxxI", _NEIGHBOUR_ADVERTISEMENT, flags) + self._address
        return frame.icmp6(mac + self._mac, self._address, to, message + _option(2, self._stand_in))


def advertisements(nic: Nic) -> list[bytes]:
    """Router advertisements (RFC 4861 section 4.2), as few as hold all options."""
    preference = _LOW_PREFERENCE if nic.default and not nic.preferred else 0
    flags, lifetime = _MANAGED_AND_OTHER | preference, _LIFETIME if nic.default else 0
    header = struct.pack("!BxxxBBHII", ADVERTISEMENT, _HOP_LIMIT, flags, lifetime, 0, 0)
    messages = [header]
    for option in _options(nic):
        if len(messages[-1]) + len(option) > _ROOM:
            messages.append(header)
        messages[-1] += option
    return messages


def _options(nic: Nic) -> Iterator[bytes]:
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
    """Its length is in units of eight bytes, with the two of kind and length itself."""
    padded = content + bytes(-(2 + len(content)) % 8)
    return bytes((kind, (2 + len(padded)) // 8)) + padded


def _split(text: str) -> tuple[bytes, int]:
    prefix, _, length = text.partition("/")
    return frame.address(prefix), int(length)
