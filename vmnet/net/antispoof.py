"""What a guest may send: from its own MAC and addresses, and nothing that only a router may say.

A filter on the tap, where the guest's frames come in, so that a guest can't take over a neighbour's
address, nor answer as the network's router or DHCP server. It looks at each frame alone and keeps
no state, hence these limits:

- A link-local IPv6 address can't be told from a neighbour's (stable and temporary ones follow from
  no MAC, RFC 7217 and 8981): any goes, except the routers' that are known.
- Of a fragmented packet the first fragment decides, which the rest is of no use without.

VLAN tags would hide a frame from it, and so would IPv6's extension headers: neither passes, but for
fragments, and the hop-by-hop header of multicast listener reports (RFC 3810 section 5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.net import cbpf, rtnl
from vmnet.net.cbpf import (
    AND,
    JEQ,
    JGE,
    JSET,
    JUMP,
    LD,
    LD_LENGTH,
    LDB,
    LDB_X,
    LDH,
    LDH_X,
    LDX_HEADER,
    RET,
    SHOT,
    UNSPEC,
    VLAN_TAG_PRESENT,
    Instruction,
    Program,
)
from vmnet.wiring import Sender

_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_TAGS = (0x8100, 0x88A8, 0x9100)  # a second VLAN tag, behind the one that the kernel took off
_PASS, _DROP = (RET, UNSPEC, 0, 0), (RET, SHOT, 0, 0)
_ICMP, _UDP = 1, 17
_REDIRECT, _ROUTER_ADVERTISEMENT = 5, 9  # RFC 792, RFC 1256
_DHCP_SERVER, _DHCP_CLIENT, _DHCP6_CLIENT = 67, 68, 546
# IPv6 next headers (RFC 8200 section 4) and ICMPv6 types (RFC 4861 section 4, RFC 2710, RFC 3810).
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _ICMP6, _DESTINATION = 0, 43, 44, 58, 60
_RS6, _RA6, _NS6, _NA6, _REDIRECT6 = 133, 134, 135, 136, 137
_LISTENER_REPORTS = (131, 132, 143)


def filter_tap(kernel: rtnl.Rtnl, tap: str, mac: str, sender: Sender) -> bool:
    """Filter what comes from a tap; answer whether this kernel can.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    return cbpf.attach(kernel, tap, program(mac, sender), (cbpf.INGRESS,))


def program(mac: str, sender: Sender) -> Program:
    """The filter for one guest.

    :param mac: the guest's
    """
    own = bytes.fromhex(mac.replace(":", ""))
    ends: Program = {"pass": [_PASS], "drop": [_DROP]}
    return {**_frame(own, sender), **_ipv4(sender), **_ipv6(sender), **ends}


def _frame(mac: bytes, sender: Sender) -> Program:
    high, low = int.from_bytes(mac[:4], "big"), int.from_bytes(mac[4:], "big")
    others = [_DROP] if sender.addresses is not None else [*_drop_if(_TAGS), _PASS]
    return {
        "start": [
            *_require(LD, VLAN_TAG_PRESENT, 0),
            *_require(LD, 6, high),
            *_require(LDH, 10, low),
            (LDH, 12, 0, 0),  # EtherType
            *_go(_IPV4, "ipv4"),
            *_go(_IPV6, "ipv6"),
            (JEQ, _ARP, "arp", 0),
            *others,
        ],
        "arp": [  # RFC 826
            *_at_least(14 + 28),
            *_require(LD, 14, 0x00010800),  # Ethernet, IPv4
            *_require(LDH, 18, 0x0604),  # and the lengths of their addresses
            *_require(LD, 22, high),
            *_require(LDH, 26, low),
            *_sent_from_ipv4(28, sender, "pass"),
            *_go(0, "pass"),  # a probe (RFC 5227)
            _DROP,
        ],
    }


def _ipv4(sender: Sender) -> Program:
    return {
        "ipv4": [
            *_at_least(14 + 20),
            *_sent_from_ipv4(26, sender, "ipv4 sent"),
            *_require_value(0),
            # Without an address yet, only DHCP, whole and to a server (RFC 2131 section 4.1).
            *_require(LDB, 23, _UDP),
            (LDH, 20, 0, 0),
            (JSET, 0x3FFF, 0, 1),
            _DROP,
            (LDX_HEADER, 14, 0, 0),
            *_require(LDH_X, 16, _DHCP_SERVER),
            _PASS,
        ],
        "ipv4 sent": [
            (LDH, 20, 0, 0),
            (JSET, 0x1FFF, 0, 1),  # a later fragment
            _PASS,
            (LDX_HEADER, 14, 0, 0),
            (LDB, 23, 0, 0),
            (JEQ, _ICMP, "icmp", 0),
            (JEQ, _UDP, "udp", 0),
            _PASS,
        ],
        "icmp": [(LDB_X, 14, 0, 0), *_drop_if((_REDIRECT, _ROUTER_ADVERTISEMENT)), _PASS],
        "udp": [(LDH_X, 16, 0, 0), *_drop_if((_DHCP_CLIENT,)), _PASS],
    }


def _ipv6(sender: Sender) -> Program:
    return {
        "ipv6": [
            *_at_least(14 + 40),
            *_sent_from_ipv6(22, sender, "ipv6 sent"),
            *_go_if_ipv6(22, IPv6Address(0), "ipv6 unset"),
            _DROP,
        ],
        "ipv6 unset": [  # duplicate address detection, and what goes with it
            (LDB, 20, 0, 0),
            (JEQ, _HOP_BY_HOP, "hop by hop", 0),
            *_require_value(_ICMP6),
            (LDB, 54, 0, 0),
            (JEQ, _NS6, "target", 0),
            *_require_value(_RS6),
            _PASS,
        ],
        "ipv6 sent": [
            (LDB, 20, 0, 0),
            *_drop_if((_ROUTING, _DESTINATION)),
            (JEQ, _HOP_BY_HOP, "hop by hop", 0),
            (JEQ, _FRAGMENT, "fragment", 0),
            (JEQ, _UDP, "udp6", 0),
            (JEQ, _ICMP6, 1, 0),
            _PASS,
            (LDB, 54, 0, 0),
            *_drop_if((_RA6, _REDIRECT6)),
            (JEQ, _NA6, "target", 0),
            _PASS,
        ],
        "udp6": [(LDH, 56, 0, 0), *_drop_if((_DHCP6_CLIENT,)), _PASS],
        "hop by hop": [
            *_require(LDB, 55, 0),  # eight bytes of it
            *_require(LDB, 54, _ICMP6),
            (LDB, 62, 0, 0),
            *(one for kind in _LISTENER_REPORTS for one in _go(kind, "pass")),
            _DROP,
        ],
        "fragment": [
            (LDH, 56, 0, 0),
            (JSET, 0xFFF8, 0, 1),  # a later one
            _PASS,
            (LDB, 54, 0, 0),
            *_drop_if((_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION)),
            (JEQ, _UDP, "udp6 fragment", 0),
            (JEQ, _ICMP6, 1, 0),
            _PASS,
            (LDB, 62, 0, 0),  # neighbour discovery is never fragmented (RFC 6980)
            *_drop_if((_RS6, _RA6, _NS6, _NA6, _REDIRECT6)),
            _PASS,
        ],
        "udp6 fragment": [(LDH, 64, 0, 0), *_drop_if((_DHCP6_CLIENT,)), _PASS],
        "target": [  # of a solicitation or an advertisement: whose address it is about
            *_at_least(14 + 40 + 24),
            *_sent_from_ipv6(62, sender, "pass"),
            _DROP,
        ],
    }


def _sent_from_ipv4(offset: int, sender: Sender, place: str) -> Iterator[Instruction]:
    """Go on elsewhere if an address is the guest's; else it is in A."""
    if sender.addresses is None:
        yield (JUMP, 0, place, 0)
    yield (LD, offset, 0, 0)
    for address in sender.addresses or ():
        if isinstance(address, IPv4Address):
            yield from _go(int(address), place)


def _sent_from_ipv6(offset: int, sender: Sender, place: str) -> Iterator[Instruction]:
    """Go on elsewhere if an address is, or may be, the guest's."""
    if sender.addresses is None:
        yield (JUMP, 0, place, 0)
    for router in sender.routers:
        yield from _go_if_ipv6(offset, router, "drop")
    yield from ((LD, offset, 0, 0), (AND, 0xFFC00000, 0, 0))
    yield from _go(0xFE800000, place)
    for address in sender.addresses or ():
        if isinstance(address, IPv6Address):
            yield from _go_if_ipv6(offset, address, place)


def _go_if_ipv6(offset: int, address: IPv6Address, place: str) -> Iterator[Instruction]:
    words = struct.unpack("!4I", address.packed)
    for number, word in enumerate(words):
        yield (LD, offset + 4 * number, 0, 0)
        yield (JEQ, word, 0, 2 * (len(words) - number) - 1)  # else behind the jump below
    yield (JUMP, 0, place, 0)


def _go(value: int, place: str) -> tuple[Instruction, ...]:
    """Go on elsewhere, however far, if A is a value."""
    return (JEQ, value, 0, 1), (JUMP, 0, place, 0)


def _require(load: int, offset: int, value: int) -> tuple[Instruction, ...]:
    return (load, offset, 0, 0), *_require_value(value)


def _require_value(value: int) -> tuple[Instruction, ...]:
    return (JEQ, value, 1, 0), _DROP


def _at_least(length: int) -> tuple[Instruction, ...]:
    """A load from beyond the frame's end would end the program, and let the frame pass."""
    return (LD_LENGTH, 0, 0, 0), (JGE, length, 1, 0), _DROP


def _drop_if(values: Iterable[int]) -> Iterator[Instruction]:
    for value in values:
        yield from ((JEQ, value, 0, 1), _DROP)
