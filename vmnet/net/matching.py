"""Pieces of classic BPF programs that match frames: what several filters have in common.

Offsets count from the frame's first byte, as the kernel shows it: it takes the outermost VLAN tag
off before a filter runs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.net.cbpf import (
    JEQ,
    JGE,
    JUMP,
    LD,
    LD_LENGTH,
    LDH,
    RET,
    SHOT,
    UNSPEC,
    Instruction,
)

PASS, DROP = (RET, UNSPEC, 0, 0), (RET, SHOT, 0, 0)
# EtherTypes (IEEE 802), those of VLAN tags and of what the tags hide.
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
TAGS = (0x8100, 0x88A8, 0x9100)
ICMP, TCP, UDP = 1, 6, 17
# IPv6 next headers (RFC 8200 section 4) and ICMPv6 types (RFC 4861 section 4).
HOP_BY_HOP, ROUTING, FRAGMENT, ICMP6, DESTINATION = 0, 43, 44, 58, 60
RS6, RA6, NS6, NA6, REDIRECT6 = 133, 134, 135, 136, 137
DNS, DHCP_SERVER, DHCP_CLIENT, DHCP6_CLIENT, DHCP6_SERVER = 53, 67, 68, 546, 547
_KEPT = 0x0180C200


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def go(value: int, place: str) -> tuple[Instruction, ...]:
    """Go on elsewhere, however far, if A is a value."""
    return (JEQ, value, 0, 1), (JUMP, 0, place, 0)


def require(load: int, offset: int, value: int) -> tuple[Instruction, ...]:
    return (load, offset, 0, 0), *require_value(value)


def require_value(value: int) -> tuple[Instruction, ...]:
    return (JEQ, value, 1, 0), DROP


def at_least(length: int) -> tuple[Instruction, ...]:
    """A load from beyond the frame's end would end the program, and let the frame pass."""
    return (LD_LENGTH, 0, 0, 0), (JGE, length, 1, 0), DROP


def drop_if(values: Iterable[int]) -> Iterator[Instruction]:
    for value in values:
        yield from ((JEQ, value, 0, 1), DROP)


def go_if_from(mac: bytes, place: str) -> tuple[Instruction, ...]:
    """Go on elsewhere if the frame's source is a MAC."""
    high, low = int.from_bytes(mac[:4], "big"), int.from_bytes(mac[4:], "big")
    return (LD, 6, 0, 0), (JEQ, high, 0, 3), (LDH, 10, 0, 0), *go(low, place)


def drop_kept_by_bridge() -> tuple[Instruction, ...]:
    """Drop what a bridge forwards to no port, but gives to the host's own stack on that port.

    These are frames to 01-80-C2-00-00-01 to -0F (IEEE 802.1Q table 8-1). With an IP packet in them
    they would reach the container past all that looks at the bridge.
    """
    return (
        *((LD, 0, 0, 0), (JEQ, _KEPT, 0, 4)),
        *((LDH, 4, 0, 0), (JEQ, 0, 2, 0), (JGE, 0x10, 1, 0), DROP),
    )


def go_if_ipv4(
    load: int, offset: int, addresses: Iterable[object], place: str
) -> Iterator[Instruction]:
    """Go on elsewhere if an address, in A from now on, is one of those of its family.

    :param load: LD, or LD_X for an offset behind X
    """
    yield (load, offset, 0, 0)
    for address in addresses:
        if isinstance(address, IPv4Address):
            yield from go(int(address), place)


def go_if_ipv6(load: int, offset: int, address: IPv6Address, place: str) -> Iterator[Instruction]:
    words = struct.unpack("!4I", address.packed)
    for number, word in enumerate(words):
        yield (load, offset + 4 * number, 0, 0)
        yield (JEQ, word, 0, 2 * (len(words) - number) - 1)  # else behind the jump below
    yield (JUMP, 0, place, 0)
