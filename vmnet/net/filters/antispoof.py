"""The filter for frames from the guest: own MAC and addresses only, no router or server messages.

The filter is attached to the tap. It prevents a guest from taking over a neighbour's address, and
from answering as the network's router or DHCP server. It keeps no state between frames, so:

- It accepts every IPv6 link-local address except those of known routers, because stable and
  temporary addresses do not depend on the MAC (RFC 7217, RFC 8981).
- It checks only the first fragment of a packet. The later fragments are useless without it.

VLAN tags and IPv6 extension headers could hide a message, so the filter drops frames that have
them. It accepts fragments, and the hop-by-hop header of multicast listener reports (RFC 3810
section 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address

from vmnet.model.wiring import Port, Sender
from vmnet.net import rtnl
from vmnet.net.filters import clsact
from vmnet.net.filters.cbpf import (
    AND,
    JEQ,
    JSET,
    JUMP,
    LD,
    LDB,
    LDB_X,
    LDH,
    LDH_X,
    VLAN_TAG_PRESENT,
    Instruction,
    Program,
)
from vmnet.net.filters.matching import (
    ANY_FRAGMENT,
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
    IGMP,
    IPV4,
    IPV6,
    LATER_FRAGMENT,
    NA6,
    NS6,
    PASS,
    RA6,
    REDIRECT6,
    ROUTING,
    RS6,
    TAGS,
    UDP,
    drop_if,
    ipv4_payload,
    jump_if,
    jump_if_ipv4,
    jump_if_ipv6,
    require,
    require_length,
    require_mac,
    require_value,
)

_REDIRECT, _ROUTER_ADVERTISEMENT = 5, 9  # RFC 792, RFC 1256
# Messages of hosts in a multicast group: every other message is a multicast router's.
_IGMP_REPORTS = (0x12, 0x16, 0x17, 0x22)  # RFC 1112, RFC 2236, RFC 3376
_LISTENER_REPORTS = (131, 132, 143)  # RFC 2710, RFC 3810
_LISTENER_QUERY, _MULTICAST_ROUTER = 130, 151  # RFC 2710, RFC 4286


def filter_tap(kernel: rtnl.Rtnl, port: Port) -> bool:
    """Filter the frames that arrive from a port's tap, unless the guest may send any frame.

    Return False if the kernel cannot.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    if port.sender is None or port.tap is None:
        return True
    chains = {clsact.INGRESS: [program(port.guest_mac, port.sender)]}
    return clsact.attach(kernel, port.tap.name, chains)


def program(mac: str, sender: Sender) -> Program:
    """Return the filter for a guest.

    :param mac: the guest's MAC
    """
    ends: Program = {"pass": [PASS], "drop": [DROP]}
    return {**_frame(mac, sender), **_ipv4(sender), **_ipv6(sender), **ends}


def _frame(mac: str, sender: Sender) -> Program:
    other_protocols = [DROP] if sender.addresses is not None else [*drop_if(TAGS), PASS]
    return {
        "frame": [
            *require(LD, VLAN_TAG_PRESENT, 0),
            *require_mac(6, mac),
            (LDH, 12, 0, 0),  # EtherType
            *jump_if(IPV4, "ipv4"),
            *jump_if(IPV6, "ipv6"),
            (JEQ, ARP, "arp", 0),
            *other_protocols,
        ],
        "arp": [  # RFC 826
            *require_length(14 + 28),
            *require(LD, 14, 0x00010800),  # Ethernet, IPv4
            *require(LDH, 18, 0x0604),  # the lengths of their addresses
            *require_mac(22, mac),
            *_jump_if_own_ipv4(28, sender, "pass"),
            *jump_if(0, "pass"),  # a probe (RFC 5227)
            DROP,
        ],
    }


def _ipv4(sender: Sender) -> Program:
    return {
        "ipv4": [
            *require_length(14 + 20),
            *_jump_if_own_ipv4(26, sender, "ipv4 sent"),
            *require_value(0),
            # A guest without an address may only send unfragmented DHCP to a server (RFC 2131
            # section 4.1).
            *ipv4_payload(ANY_FRAGMENT, "drop"),
            *require_value(UDP),
            *require(LDH_X, 16, DHCP_SERVER),
            PASS,
        ],
        "ipv4 sent": [
            *ipv4_payload(LATER_FRAGMENT, "pass"),
            (JEQ, ICMP, "icmp", 0),
            (JEQ, UDP, "udp", 0),
            (JEQ, IGMP, "igmp", 0),
            PASS,
        ],
        "igmp": [(LDB_X, 14, 0, 0), *_pass_if(_IGMP_REPORTS), DROP],
        "icmp": [(LDB_X, 14, 0, 0), *drop_if((_REDIRECT, _ROUTER_ADVERTISEMENT)), PASS],
        "udp": [(LDH_X, 16, 0, 0), *drop_if((DHCP_CLIENT,)), PASS],
    }


def _ipv6(sender: Sender) -> Program:
    return {
        "ipv6": [
            *require_length(14 + 40),
            *_jump_if_own_ipv6(22, sender, "ipv6 sent"),
            *jump_if_ipv6(LD, 22, IPv6Address(0), "ipv6 unset"),
            DROP,
        ],
        "ipv6 unset": [  # duplicate address detection, router solicitation, listener reports
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
            *drop_if((RA6, REDIRECT6, _LISTENER_QUERY, _MULTICAST_ROUTER)),
            (JEQ, NA6, "target", 0),
            PASS,
        ],
        "udp6": [(LDH, 56, 0, 0), *drop_if((DHCP6_CLIENT,)), PASS],
        "hop by hop": [
            *require(LDB, 55, 0),  # the header has eight bytes
            *require(LDB, 54, ICMP6),
            (LDB, 62, 0, 0),
            *_pass_if(_LISTENER_REPORTS),
            DROP,
        ],
        "fragment": [
            (LDH, 56, 0, 0),
            (JSET, 0xFFF8, 0, 1),  # a later fragment
            PASS,
            (LDB, 54, 0, 0),
            *drop_if((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION)),
            (JEQ, UDP, "udp6 fragment", 0),
            (JEQ, ICMP6, 1, 0),
            PASS,
            (LDB, 62, 0, 0),  # neighbour discovery is never fragmented (RFC 6980)
            *drop_if((RS6, RA6, NS6, NA6, REDIRECT6, _LISTENER_QUERY, _MULTICAST_ROUTER)),
            PASS,
        ],
        "udp6 fragment": [(LDH, 64, 0, 0), *drop_if((DHCP6_CLIENT,)), PASS],
        "target": [  # the address in a solicitation or an advertisement
            *require_length(14 + 40 + 24),
            *_jump_if_own_ipv6(62, sender, "pass"),
            DROP,
        ],
    }


def _pass_if(values: Iterable[int]) -> Iterator[Instruction]:
    for value in values:
        yield from ((JEQ, value, 0, 1), PASS)


def _jump_if_own_ipv4(offset: int, sender: Sender, label: str) -> Iterator[Instruction]:
    """Jump if the address at the offset is the guest's; otherwise leave it in A."""
    if sender.addresses is None:
        yield (JUMP, 0, label, 0)
    yield from jump_if_ipv4(LD, offset, sender.addresses or (), label)


def _jump_if_own_ipv6(offset: int, sender: Sender, label: str) -> Iterator[Instruction]:
    """Jump if the address at the offset is the guest's, or is link-local and no router's."""
    if sender.addresses is None:
        yield (JUMP, 0, label, 0)
    for router in sender.routers:
        yield from jump_if_ipv6(LD, offset, router, "drop")
    yield from ((LD, offset, 0, 0), (AND, 0xFFC00000, 0, 0))
    yield from jump_if(0xFE800000, label)
    for address in sender.addresses or ():
        if isinstance(address, IPv6Address):
            yield from jump_if_ipv6(LD, offset, address, label)
