"""The filter on a redirected uplink that leaves frames for kept ports to the container's stack.

nftables rules translate them there, in a hook behind this filter: see :mod:`vmnet.net.kept.rules`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.model.kept import Kept
from vmnet.net.filters import clsact
from vmnet.net.filters.cbpf import (
    JEQ,
    JSET,
    JUMP,
    LD,
    LDB,
    LDH,
    LDH_X,
    RET,
    VLAN_TAG_PRESENT,
    Instruction,
    Program,
)
from vmnet.net.filters.matching import (
    ARP,
    FRAGMENT,
    ICMP6,
    IPV4,
    IPV6,
    LATER_FRAGMENT,
    NA6,
    NS6,
    PASS,
    TCP,
    UDP,
    ipv4_payload,
    jump_if,
    jump_if_between,
    jump_if_ipv4,
    jump_if_ipv6,
)

KEEP = (RET, clsact.OK, 0, 0)
"""Leave the frame to the container's stack."""


def program(kept: Kept) -> Program:
    """Return the program for the uplink of the ports."""
    guest4, guest6 = ([each.guest for each in kept.of_version(family)] for family in (4, 6))
    own6 = [each.own for each in kept.of_version(6)]
    return {
        "start": [
            (LD, VLAN_TAG_PRESENT, 0, 0),
            (JEQ, 0, 1, 0),
            PASS,
            (LDH, 12, 0, 0),  # EtherType
            *jump_if(ARP, "arp"),
            *jump_if(IPV4, "ipv4"),
            *jump_if(IPV6, "ipv6"),
            PASS,
        ],
        "arp": [*jump_if_ipv4(LD, 38, guest4, "keep"), PASS],  # the target's address (RFC 826)
        "ipv4": [*jump_if_ipv4(LD, 30, guest4, "for the guest"), PASS],
        "for the guest": [
            *ipv4_payload(LATER_FRAGMENT, "keep"),
            *jump_if(TCP, "tcp"),
            *jump_if(UDP, "udp"),
            PASS,
        ],
        **_ports("", LDH_X, 14 + 2, kept),
        "ipv6": [
            (LDB, 20, 0, 0),  # next header
            *jump_if(ICMP6, "icmpv6"),
            *_jump_if_any(38, guest6, "for the guest by ipv6"),
            PASS,
        ],
        "icmpv6": [
            (LDB, 14 + 40, 0, 0),
            *jump_if(NS6, "solicitation"),
            *jump_if(NA6, "advertisement"),
            PASS,
        ],
        "solicitation": [*_jump_if_any(62, [*guest6, *own6], "keep"), PASS],
        "advertisement": [*_jump_if_any(38, own6, "keep"), PASS],
        "for the guest by ipv6": [
            (LDB, 20, 0, 0),
            *jump_if(TCP, "tcp6"),
            *jump_if(UDP, "udp6"),
            *jump_if(FRAGMENT, "fragment"),
            PASS,
        ],
        **_ports("6", LDH, 14 + 40 + 2, kept),
        "fragment": [
            (LDH, 14 + 40 + 2, 0, 0),
            (JSET, 0xFFF8, 0, 1),
            (JUMP, 0, "keep", 0),  # a later fragment
            (LDB, 14 + 40, 0, 0),  # next header
            *jump_if(TCP, "tcp of a fragment"),
            *jump_if(UDP, "udp of a fragment"),
            PASS,
        ],
        **_ports(" of a fragment", LDH, 14 + 48 + 2, kept),
        "keep": [KEEP],
    }


def _ports(suffix: str, load: int, offset: int, kept: Kept) -> Program:
    """Return the parts of a program that keep a packet with a kept port.

    :param suffix: of the labels
    :param load: LDH, or LDH_X for an offset relative to X
    :param offset: of the destination port
    """
    return {
        f"{protocol}{suffix}": [
            (load, offset, 0, 0),
            *(
                step
                for each in kept.ports
                if each.protocol == protocol
                for step in jump_if_between(each.first, each.last, "keep")
            ),
            PASS,
        ]
        for protocol in ("tcp", "udp")
    }


def _jump_if_any(
    offset: int, addresses: list[IPv4Address | IPv6Address], label: str
) -> Iterator[Instruction]:
    for address in addresses:
        if isinstance(address, IPv6Address):
            yield from jump_if_ipv6(LD, offset, address, label)
