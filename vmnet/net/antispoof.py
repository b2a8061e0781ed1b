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

from collections.abc import Iterator
from ipaddress import IPv6Address

from vmnet.net import cbpf, rtnl
from vmnet.net.cbpf import (
    AND,
    JEQ,
    JSET,
    JUMP,
    LD,
    LDB,
    LDB_X,
    LDH,
    LDH_X,
    LDX_HEADER,
    VLAN_TAG_PRESENT,
    Instruction,
    Program,
)
from vmnet.net.matching import (
    ARP,
    DESTINATION,
    DHCP6_CLIENT,
    DHCP_CLIENT,
    DHCP_SERVER,
    DROP,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMP6,
    IPV4,
    IPV6,
    NA6,
    NS6,
    PASS,
    RA6,
    REDIRECT6,
    ROUTING,
    RS6,
    TAGS,
    UDP,
    at_least,
    drop_if,
    drop_kept_by_bridge,
    go,
    go_if_ipv4,
    go_if_ipv6,
    mac_bytes,
    require,
    require_value,
)
from vmnet.wiring import Port, Sender

_REDIRECT, _ROUTER_ADVERTISEMENT = 5, 9  # RFC 792, RFC 1256
_LISTENER_REPORTS = (131, 132, 143)  # RFC 2710, RFC 3810


def filter_tap(kernel: rtnl.Rtnl, port: Port) -> bool:
    """Filter what comes from a port's tap; answer whether this kernel can.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    return cbpf.attach(kernel, port.tap, {cbpf.INGRESS: program(port.guest_mac, port.sender)})


def program(mac: str, sender: Sender | None) -> Program:
    """The filter for one guest.

    :param mac: the guest's
    :param sender: None for a guest that may be anybody, but gets no further than the bridge
    """
    ends: Program = {"pass": [PASS], "drop": [DROP]}
    kept: Program = {"start": drop_kept_by_bridge()}
    if sender is None:
        return {**kept, **ends}
    return {**kept, **_frame(mac_bytes(mac), sender), **_ipv4(sender), **_ipv6(sender), **ends}


def _frame(mac: bytes, sender: Sender) -> Program:
    high, low = int.from_bytes(mac[:4], "big"), int.from_bytes(mac[4:], "big")
    others = [DROP] if sender.addresses is not None else [*drop_if(TAGS), PASS]
    return {
        "frame": [
            *require(LD, VLAN_TAG_PRESENT, 0),
            *require(LD, 6, high),
            *require(LDH, 10, low),
            (LDH, 12, 0, 0),  # EtherType
            *go(IPV4, "ipv4"),
            *go(IPV6, "ipv6"),
            (JEQ, ARP, "arp", 0),
            *others,
        ],
        "arp": [  # RFC 826
            *at_least(14 + 28),
            *require(LD, 14, 0x00010800),  # Ethernet, IPv4
            *require(LDH, 18, 0x0604),  # and the lengths of their addresses
            *require(LD, 22, high),
            *require(LDH, 26, low),
            *_sent_from_ipv4(28, sender, "pass"),
            *go(0, "pass"),  # a probe (RFC 5227)
            DROP,
        ],
    }


def _ipv4(sender: Sender) -> Program:
    return {
        "ipv4": [
            *at_least(14 + 20),
            *_sent_from_ipv4(26, sender, "ipv4 sent"),
            *require_value(0),
            # Without an address yet, only DHCP, whole and to a server (RFC 2131 section 4.1).
            *require(LDB, 23, UDP),
            (LDH, 20, 0, 0),
            (JSET, 0x3FFF, 0, 1),
            DROP,
            (LDX_HEADER, 14, 0, 0),
            *require(LDH_X, 16, DHCP_SERVER),
            PASS,
        ],
        "ipv4 sent": [
            (LDH, 20, 0, 0),
            (JSET, 0x1FFF, 0, 1),  # a later fragment
            PASS,
            (LDX_HEADER, 14, 0, 0),
            (LDB, 23, 0, 0),
            (JEQ, ICMP, "icmp", 0),
            (JEQ, UDP, "udp", 0),
            PASS,
        ],
        "icmp": [(LDB_X, 14, 0, 0), *drop_if((_REDIRECT, _ROUTER_ADVERTISEMENT)), PASS],
        "udp": [(LDH_X, 16, 0, 0), *drop_if((DHCP_CLIENT,)), PASS],
    }


def _ipv6(sender: Sender) -> Program:
    return {
        "ipv6": [
            *at_least(14 + 40),
            *_sent_from_ipv6(22, sender, "ipv6 sent"),
            *go_if_ipv6(LD, 22, IPv6Address(0), "ipv6 unset"),
            DROP,
        ],
        "ipv6 unset": [  # duplicate address detection, and what goes with it
            (LDB, 20, 0, 0),
            (JEQ, HOP_BY_HOP, "hop by hop", 0),
            *require_value(ICMP6),
            (LDB, 54, 0, 0),
            (JEQ, NS6, "target", 0),
            *require_value(RS6),
            PASS,
        ],
        "ipv6 sent": [
            (LDB, 20, 0, 0),
            *drop_if((ROUTING, DESTINATION)),
            (JEQ, HOP_BY_HOP, "hop by hop", 0),
            (JEQ, FRAGMENT, "fragment", 0),
            (JEQ, UDP, "udp6", 0),
            (JEQ, ICMP6, 1, 0),
            PASS,
            (LDB, 54, 0, 0),
            *drop_if((RA6, REDIRECT6)),
            (JEQ, NA6, "target", 0),
            PASS,
        ],
        "udp6": [(LDH, 56, 0, 0), *drop_if((DHCP6_CLIENT,)), PASS],
        "hop by hop": [
            *require(LDB, 55, 0),  # eight bytes of it
            *require(LDB, 54, ICMP6),
            (LDB, 62, 0, 0),
            *(one for kind in _LISTENER_REPORTS for one in go(kind, "pass")),
            DROP,
        ],
        "fragment": [
            (LDH, 56, 0, 0),
            (JSET, 0xFFF8, 0, 1),  # a later one
            PASS,
            (LDB, 54, 0, 0),
            *drop_if((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION)),
            (JEQ, UDP, "udp6 fragment", 0),
            (JEQ, ICMP6, 1, 0),
            PASS,
            (LDB, 62, 0, 0),  # neighbour discovery is never fragmented (RFC 6980)
            *drop_if((RS6, RA6, NS6, NA6, REDIRECT6)),
            PASS,
        ],
        "udp6 fragment": [(LDH, 64, 0, 0), *drop_if((DHCP6_CLIENT,)), PASS],
        "target": [  # of a solicitation or an advertisement: whose address it is about
            *at_least(14 + 40 + 24),
            *_sent_from_ipv6(62, sender, "pass"),
            DROP,
        ],
    }


def _sent_from_ipv4(offset: int, sender: Sender, place: str) -> Iterator[Instruction]:
    """Go on elsewhere if an address is the guest's; else it is in A."""
    if sender.addresses is None:
        yield (JUMP, 0, place, 0)
    yield from go_if_ipv4(LD, offset, sender.addresses or (), place)


def _sent_from_ipv6(offset: int, sender: Sender, place: str) -> Iterator[Instruction]:
    """Go on elsewhere if an address is, or may be, the guest's."""
    if sender.addresses is None:
        yield (JUMP, 0, place, 0)
    for router in sender.routers:
        yield from go_if_ipv6(LD, offset, router, "drop")
    yield from ((LD, offset, 0, 0), (AND, 0xFFC00000, 0, 0))
    yield from go(0xFE800000, place)
    for address in sender.addresses or ():
        if isinstance(address, IPv6Address):
            yield from go_if_ipv6(LD, offset, address, place)
