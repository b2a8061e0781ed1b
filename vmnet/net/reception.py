"""What the container itself accepts on a bridge, as opposed to what only crosses it.

The guest has DHCP, DNS, answers to pings, and answers to connections that the container opened.
The network has neither DHCP nor DNS here: the forwarder knows names of networks that the sender may
not be on. Both reach the bridge's own addresses alone: Linux would take a packet for any address
of the container on any interface, and so the guest would reach what the container kept to itself.

The source MAC tells the guest from the network, since no frame with the guest's enters by the
uplink. The bridge has no IPv6, so none is accepted, nor a VLAN tag.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from vmnet.net import cbpf, rtnl
from vmnet.net.cbpf import (
    JEQ,
    JSET,
    LD,
    LDB,
    LDB_X,
    LDH,
    LDH_X,
    LDX_HEADER,
    VLAN_TAG_PRESENT,
    Program,
)
from vmnet.net.matching import (
    ARP,
    DHCP_SERVER,
    DNS,
    DROP,
    ICMP,
    IPV4,
    PASS,
    TCP,
    UDP,
    at_least,
    drop_if,
    go,
    go_if_from,
    go_if_ipv4,
    mac_bytes,
    require,
    require_value,
)
from vmnet.wiring import Port

_BROADCAST = IPv4Address("255.255.255.255")
_ECHO_REPLY, _REDIRECT, _ECHO_REQUEST = 0, 5, 8  # RFC 792
_TCP_ACK = 0x10
_ANY_FRAGMENT, _LATER_FRAGMENT = 0x3FFF, 0x1FFF


def filter_bridge(kernel: rtnl.Rtnl, port: Port) -> bool:
    """Filter what a port's bridge takes for itself; answer whether this kernel can.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    return cbpf.attach(kernel, port.bridge, {cbpf.INGRESS: program(port)})


def program(port: Port) -> Program:
    """The filter for one bridge."""
    return {
        "start": [
            *require(LD, VLAN_TAG_PRESENT, 0),
            (LDH, 12, 0, 0),  # EtherType
            *go(ARP, "pass"),
            *require_value(IPV4),
            *at_least(14 + 20),
            *go_if_ipv4(LD, 30, _own(port), "ours"),
            DROP,
        ],
        "ours": [*go_if_from(mac_bytes(port.guest_mac), "from the guest")],
        "from the network": [
            (LDH, 20, 0, 0),
            (JSET, _LATER_FRAGMENT, "pass", 0),
            (LDX_HEADER, 14, 0, 0),
            (LDB, 23, 0, 0),
            (JEQ, UDP, "port", 0),
            (JEQ, TCP, "port", 0),
            (JEQ, ICMP, 0, "pass"),
            (LDB_X, 14, 0, 0),
            *drop_if((_REDIRECT,)),
            PASS,
        ],
        "port": [(LDH_X, 16, 0, 0), *drop_if((DNS, DHCP_SERVER)), PASS],
        "from the guest": [
            (LDH, 20, 0, 0),
            (JSET, _ANY_FRAGMENT, "drop", 0),
            (LDX_HEADER, 14, 0, 0),
            (LDB, 23, 0, 0),
            (JEQ, UDP, "guest's udp", 0),
            (JEQ, TCP, "guest's tcp", 0),
            *require_value(ICMP),
            (LDB_X, 14, 0, 0),
            *go(_ECHO_REQUEST, "pass"),
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
            (JSET, _TCP_ACK, "pass", "drop"),  # all but what opens a connection
        ],
        "pass": [PASS],
        "drop": [DROP],
    }


def _own(port: Port) -> Iterator[IPv4Address]:
    """The bridge's addresses, those that may come to be, and where DHCP is broadcast to."""
    for one in (port.bridge_address, port.link_local, *port.spares):
        if one is not None:
            yield one.ip
    yield _BROADCAST
