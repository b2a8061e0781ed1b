"""Building blocks of classic BPF programs that match frames, shared by the filters.

Offsets count from the first byte of the frame without its outermost VLAN tag, because the kernel
removes that tag before a filter runs.

A ``label`` names the place in the program to jump to, at any distance.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.net import packets
from vmnet.net.filters.cbpf import (
    JEQ,
    JGE,
    JSET,
    JUMP,
    LD,
    LD_LENGTH,
    LDB,
    LDH,
    LDX_HEADER,
    RET,
    Instruction,
)
from vmnet.net.filters.clsact import SHOT, UNSPEC

PASS, DROP = (RET, UNSPEC, 0, 0), (RET, SHOT, 0, 0)
# EtherTypes (IEEE 802) of protocols and of VLAN tags.
ARP, IPV4, IPV6 = packets.ETH_P_ARP, packets.ETH_P_IP, packets.ETH_P_IPV6
TAGS = (0x8100, 0x88A8, 0x9100)
ICMP, IGMP, TCP, UDP = 1, 2, 6, packets.UDP
# IPv6 next headers (RFC 8200 section 4) and ICMPv6 types (RFC 4861 section 4).
HOP_BY_HOP, ROUTING, FRAGMENT, ICMP6, DESTINATION = 0, 43, 44, packets.ICMPV6, 60
RS6, RA6 = packets.ROUTER_SOLICITATION, packets.ROUTER_ADVERTISEMENT
NS6, NA6 = packets.NEIGHBOUR_SOLICITATION, packets.NEIGHBOUR_ADVERTISEMENT
REDIRECT6 = 137
DNS, DHCP_SERVER, DHCP_CLIENT = 53, 67, 68
DHCP6_CLIENT, DHCP6_SERVER = packets.DHCP6_CLIENT_PORT, packets.DHCP6_SERVER_PORT
ANY_FRAGMENT, LATER_FRAGMENT = 0x3FFF, 0x1FFF  # bits of IPv4's flags and offset (RFC 791)


def jump_if(value: int, label: str) -> tuple[Instruction, ...]:
    """Jump if A has the value."""
    return (JEQ, value, 0, 1), (JUMP, 0, label, 0)


def jump_if_between(first: int, last: int, label: str) -> tuple[Instruction, ...]:
    """Jump if A is from ``first`` to ``last``."""
    return (JGE, first, 0, 2), (JGE, last + 1, 1, 0), (JUMP, 0, label, 0)


def require(load: int, offset: int, value: int) -> tuple[Instruction, ...]:
    return (load, offset, 0, 0), *require_value(value)


def require_value(value: int) -> tuple[Instruction, ...]:
    return (JEQ, value, 1, 0), DROP


def require_length(length: int) -> tuple[Instruction, ...]:
    """Drop a shorter frame.

    A load beyond the end of the frame would end the program and accept the frame.
    """
    return (LD_LENGTH, 0, 0, 0), (JGE, length, 1, 0), DROP


def drop_if(values: Iterable[int]) -> Iterator[Instruction]:
    for value in values:
        yield from ((JEQ, value, 0, 1), DROP)


def jump_if_from(mac: str, label: str) -> tuple[Instruction, ...]:
    """Jump if the MAC is the frame's source."""
    high, low = _words(mac)
    return (LD, 6, 0, 0), (JEQ, high, 0, 3), (LDH, 10, 0, 0), *jump_if(low, label)


def jump_if_to(mac: str, label: str) -> tuple[Instruction, ...]:
    """Jump if the MAC is the frame's destination."""
    high, low = _words(mac)
    return (LD, 0, 0, 0), (JEQ, high, 0, 3), (LDH, 4, 0, 0), *jump_if(low, label)


def require_mac(offset: int, mac: str) -> tuple[Instruction, ...]:
    high, low = _words(mac)
    return *require(LD, offset, high), *require(LDH, offset + 4, low)


def _words(mac: str) -> tuple[int, int]:
    """Return the first four bytes of a MAC and the last two as numbers."""
    packed = packets.mac_bytes(mac)
    return int.from_bytes(packed[:4], "big"), int.from_bytes(packed[4:], "big")


def ipv4_payload(fragments: int, label: str) -> tuple[Instruction, ...]:
    """Jump if an IPv4 packet is a fragment; otherwise load its protocol into A.

    From there on, its payload is at 14 + X.

    :param fragments: ANY_FRAGMENT or LATER_FRAGMENT
    """
    return (
        *((LDH, 20, 0, 0), (JSET, fragments, 0, 1), (JUMP, 0, label, 0)),
        *((LDX_HEADER, 14, 0, 0), (LDB, 23, 0, 0)),
    )


def jump_if_ipv4(
    load: int, offset: int, addresses: Iterable[object], label: str
) -> Iterator[Instruction]:
    """Load an IPv4 address into A, and jump if it is in ``addresses``; ignore IPv6 addresses there.

    :param load: LD, or LD_X for an offset relative to X
    """
    yield (load, offset, 0, 0)
    for address in addresses:
        if isinstance(address, IPv4Address):
            yield from jump_if(int(address), label)


def jump_if_ipv6(load: int, offset: int, address: IPv6Address, label: str) -> Iterator[Instruction]:
    """Jump if the address at the offset is this address; see :func:`jump_if_ipv4`."""
    words = struct.unpack("!4I", address.packed)
    for number, word in enumerate(words):
        yield (load, offset + 4 * number, 0, 0)
        yield (JEQ, word, 0, 2 * (len(words) - number) - 1)  # no match: skip the jump below
    yield (JUMP, 0, label, 0)
