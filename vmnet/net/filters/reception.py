"""The filter on a bridge, for packets to the container itself.

The guest may use DHCP and DNS, ping the bridge, and answer the container's pings and connections.
The network may use neither DHCP nor DNS here: the forwarder knows names of networks that the sender
may not be on. Both can reach only the bridge's own addresses. Linux accepts a packet for any
address of the container on any interface, so the guest could otherwise reach services on networks
that the container kept.

The source MAC identifies the guest, because the uplink's filter passes frames with the guest's MAC
only to the guest itself.
The filter drops frames with a VLAN tag. The bridge has IPv6 only for ports that the container
keeps: only these, and neighbour discovery, pass from the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.model.kept import Kept
from vmnet.model.wiring import Local, Port
from vmnet.net import rtnl
from vmnet.net.filters import clsact
from vmnet.net.filters.cbpf import (
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
    VLAN_TAG_PRESENT,
    Instruction,
    Program,
)
from vmnet.net.filters.matching import (
    ANY_FRAGMENT,
    ARP,
    DHCP_SERVER,
    DNS,
    DROP,
    FRAGMENT,
    ICMP,
    ICMP6,
    IPV4,
    IPV6,
    LATER_FRAGMENT,
    NA6,
    NS6,
    PASS,
    TCP,
    UDP,
    drop_if,
    ipv4_payload,
    jump_if,
    jump_if_between,
    jump_if_from,
    jump_if_ipv4,
    jump_if_ipv6,
    require,
    require_length,
    require_value,
)

BROADCAST = IPv4Address("255.255.255.255")
_ECHO_REPLY, _REDIRECT, _ECHO_REQUEST = 0, 5, 8  # RFC 792
_TCP_ACK = 0x10


def filter_bridge(kernel: rtnl.Rtnl, port: Port, bridge: Local) -> bool:
    """Filter the packets that a port's bridge receives itself; return False if the kernel cannot.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    return clsact.attach(kernel, bridge.device, {clsact.INGRESS: [program(port, bridge)]})


def program(port: Port, bridge: Local) -> Program:
    """Return the filter for a port's bridge."""
    return {
        "start": [
            *require(LD, VLAN_TAG_PRESENT, 0),
            (LDH, 12, 0, 0),  # EtherType
            *jump_if(ARP, "pass"),
            *(jump_if(IPV6, "ipv6") if _kept6(port) or localhost6(port) else ()),
            *require_value(IPV4),
            *require_length(14 + 20),
            *jump_if_ipv4(LD, 30, _destinations(port, bridge), "to the bridge"),
            *jump_if_ipv4(LD, 30, localhost(port), "to localhost"),
            DROP,
        ],
        "to localhost": [*jump_if_from(port.guest_mac, "answers to localhost"), DROP],
        "to the bridge": [*jump_if_from(port.guest_mac, "from the guest")],
        **from_network(),
        **from_guest(),
        **answers(),
        **_ipv6(port),
        "pass": [PASS],
        "drop": [DROP],
    }


def from_network() -> Program:
    """Return the part of a program for packets from the network to the container's addresses."""
    return {
        "from the network": [
            *ipv4_payload(LATER_FRAGMENT, "pass"),
            (JEQ, UDP, "port", 0),
            (JEQ, TCP, "port", 0),
            (JEQ, ICMP, 0, "pass"),
            (LDB_X, 14, 0, 0),
            *drop_if((_REDIRECT,)),
            (JUMP, 0, "pass", 0),
        ],
        "port": [(LDH_X, 16, 0, 0), *drop_if((DNS, DHCP_SERVER)), (JUMP, 0, "pass", 0)],
    }


def from_guest() -> Program:
    """Return the part of a program for packets from the guest to the container's addresses."""
    return {
        "from the guest": [
            *ipv4_payload(ANY_FRAGMENT, "drop"),
            (JEQ, UDP, "guest's udp", 0),
            (JEQ, TCP, "guest's tcp", 0),
            *require_value(ICMP),
            (LDB_X, 14, 0, 0),
            *jump_if(_ECHO_REQUEST, "pass"),
            (JEQ, _ECHO_REPLY, "pass", "drop"),
        ],
        "guest's udp": [
            (LDH_X, 16, 0, 0),
            (JEQ, DNS, "pass", 0),
            (JEQ, DHCP_SERVER, "pass", "drop"),
        ],
        "guest's tcp": [
            (LDH_X, 16, 0, 0),
            (JEQ, DNS, "pass", 0),
            (LDB_X, 14 + 13, 0, 0),
            (JSET, _TCP_ACK, "pass", "drop"),  # the first segment of a connection has no ACK
        ],
    }


def answers() -> Program:
    """Return the part of a program for the guest's answers to programs that reach it at localhost.

    The rules for localhost check the rest.
    """
    return {
        "answers to localhost": [
            *ipv4_payload(LATER_FRAGMENT, "pass"),
            *jump_if(UDP, "pass"),
            *require_value(TCP),
            (LDB_X, 14 + 13, 0, 0),
            (JSET, _TCP_ACK, "pass", "drop"),  # the first segment of a connection has no ACK
        ],
    }


def answers6(port: Port, other: Instruction) -> Program:
    """Return :func:`answers` for IPv6, from the label ``ipv6 from the guest`` on, with neighbour
    solicitations for the container's address.

    :param other: the instruction for other packets
    """
    own = localhost6(port)
    return {
        "ipv6 from the guest": [
            *((LD_LENGTH, 0, 0, 0), (JGE, 14 + 40 + 8, 1, 0), other),
            (LDB, 20, 0, 0),  # next header
            *jump_if(ICMP6, "icmpv6 from the guest"),
            *(step for each in own for step in jump_if_ipv6(LD, 38, each, "answers by ipv6")),
            other,
        ],
        "icmpv6 from the guest": [
            (LDB, 14 + 40, 0, 0),
            (JEQ, NS6, 1, 0),
            other,
            *((LD_LENGTH, 0, 0, 0), (JGE, 14 + 40 + 24, 1, 0), other),
            *(step for each in own for step in jump_if_ipv6(LD, 62, each, "pass")),  # target
            other,
        ],
        "answers by ipv6": [
            (LDB, 20, 0, 0),
            *jump_if(UDP, "pass"),
            *require_value(TCP),
            *require_length(14 + 40 + 14),
            (LDB, 14 + 40 + 13, 0, 0),
            (JSET, _TCP_ACK, "pass", "drop"),
        ],
    }


def localhost(port: Port) -> tuple[IPv4Address | IPv6Address, ...]:
    """Return the addresses from which programs reach the guest at localhost."""
    return tuple(each.own for each in port.localhost)


def localhost6(port: Port) -> tuple[IPv6Address, ...]:
    """Return the IPv6 address among :func:`localhost`."""
    return tuple(each for each in localhost(port) if isinstance(each, IPv6Address))


def _ipv6(port: Port) -> Program:
    """Return the filter for IPv6 packets, from the label ``ipv6`` on."""
    if not (_kept6(port) or localhost6(port)):
        return {}
    return {
        "ipv6": [
            *require_length(14 + 40 + 8),
            *jump_if_from(port.guest_mac, "ipv6 from the guest"),
            *(() if _kept6(port) else (DROP,)),
        ],
        **_kept_ipv6(port),
        **answers6(port, DROP),
    }


def _kept_ipv6(port: Port) -> Program:
    if port.kept is None or not _kept6(port):
        return {}
    return {
        "ipv6 from the network": [
            (LDB, 20, 0, 0),  # next header
            *jump_if(ICMP6, "icmpv6"),
            *(step for own in _kept6(port) for step in jump_if_ipv6(LD, 38, own, "kept")),
            DROP,
        ],
        "icmpv6": [(LDB, 14 + 40, 0, 0), *jump_if(NS6, "pass"), *jump_if(NA6, "pass"), DROP],
        "kept": [
            (LDB, 20, 0, 0),
            *jump_if(TCP, "kept tcp"),
            *jump_if(UDP, "kept udp"),
            *require_value(FRAGMENT),
            (LDH, 14 + 40 + 2, 0, 0),
            (JSET, 0xFFF8, 0, 1),
            (JUMP, 0, "pass", 0),  # a later fragment, which is useless without the first
            (LDB, 14 + 40, 0, 0),
            *jump_if(TCP, "kept fragment of tcp"),
            *jump_if(UDP, "kept fragment of udp"),
            DROP,
        ],
        **_kept_ports(port.kept, "kept", 14 + 40),
        **_kept_ports(port.kept, "kept fragment of", 14 + 48),
    }


def _kept_ports(kept: Kept, label: str, payload: int) -> Program:
    """Return the parts of a program for TCP and UDP packets, by destination port."""
    return {
        f"{label} {protocol}": [
            (LDH, payload + 2, 0, 0),
            *(
                step
                for each in kept.ports
                if each.protocol == protocol
                for step in jump_if_between(each.first, each.last, "pass")
            ),
            DROP,
        ]
        for protocol in ("tcp", "udp")
    }


def _kept6(port: Port) -> tuple[IPv6Address, ...]:
    """Return the IPv6 addresses on which the container serves kept ports."""
    stand_ins = port.kept.stand_ins if port.kept is not None else ()
    return tuple(each.own for each in stand_ins if isinstance(each.own, IPv6Address))


def _destinations(port: Port, bridge: Local) -> Iterator[IPv4Address]:
    """Return the bridge's addresses, their replacements, and the address of DHCP broadcasts."""
    for address in (*bridge.addresses, *bridge.spares):
        yield address.ip
    for stand_in in port.kept.stand_ins if port.kept is not None else ():
        if isinstance(stand_in.own, IPv4Address):
            yield stand_in.own
    yield BROADCAST
