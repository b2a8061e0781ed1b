"""Filters for an uplink: contain DHCP and router messages, and drop forged guest frames.

If this container answers the guest's DHCP itself, the guest's requests must not leave, because
another server could answer first, and requests from the network must not reach this container's
server. IPv6 extension headers, fragments and VLAN tags cannot hide these messages.

Frames from the network that have the MAC of the guest or of the container's own end (the bridge)
are reflected by a switch
(hairpin mode) or forged. The filter drops them, and claims of the guest's addresses, which would
deceive the bridge and the guest's duplicate address detection. It also drops claims of the
own end's link-local address, where the guest may send its DNS queries. Frames from the guest's MAC
to the guest's MAC pass: a host whose bridge translates addresses (br_netfilter) returns what the
guest sends to its own published port or Service, and keeps the source MAC.

If the guest's frames are not filtered, the guest may use VLANs, and DHCP in a VLAN passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from vmnet.model.wiring import Port, Redirect
from vmnet.net import rtnl
from vmnet.net.filters import clsact, walking
from vmnet.net.filters.cbpf import (
    AND,
    JEQ,
    JUMP,
    LD,
    LD_X,
    LDB_X,
    LDH_X,
    VLAN_TAG,
    Instruction,
    Program,
)
from vmnet.net.filters.matching import (
    ARP,
    DHCP6_CLIENT,
    DHCP6_SERVER,
    DHCP_CLIENT,
    DHCP_SERVER,
    DROP,
    ICMP6,
    IPV4,
    IPV6,
    NA6,
    PASS,
    RA6,
    RS6,
    UDP,
    drop_if,
    jump_if,
    jump_if_from,
    jump_if_ipv4,
    jump_if_ipv6,
    jump_if_to,
)

_Addresses = Iterable[IPv4Address | IPv6Address]


def contain(kernel: rtnl.Rtnl, port: Port) -> bool:
    """Filter a port's uplink; return False if the kernel cannot.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    chains = {clsact.INGRESS: [entering(port)]}
    if port.contain:
        chains[clsact.EGRESS] = [leaving(port)]
    return clsact.attach(kernel, port.uplink, chains)


def remove(kernel: rtnl.Rtnl, uplink: str) -> None:
    """Remove the filters of an uplink, if there are any.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    clsact.detach(kernel, uplink)


def entering(port: Port) -> Program:
    """Return the filter for frames from the network."""
    # Interfaces of kind ipvlan share their MAC with their neighbours.
    shares_mac = isinstance(port.path, Redirect) and port.path.shares_mac
    reflected = (
        *jump_if_to(port.guest_mac, "to the guest"),
        *jump_if_from(port.guest_mac, "drop"),
    )
    start: Program = {
        "start": [] if shares_mac else [*reflected],
        "to the guest": [*(jump_if_from(port.local.mac, "drop") if port.local else ())],
    }
    return _program(start, port, (*port.owned, *_own_link_local(port)))


def _own_link_local(port: Port) -> tuple[IPv4Address, ...]:
    """Return the link-local address of the own end, which may be the guest's nameserver."""
    own = () if port.local is None else port.local.addresses
    return tuple(address.ip for address in own if address.ip.is_link_local)


def leaving(port: Port) -> Program:
    """Return the filter for frames to the network."""
    return _program({"start": []}, port, ())


def _program(start: Program, port: Port, owned: _Addresses) -> Program:
    """:param owned: addresses that no sender may claim"""
    other_vlan = "pass" if port.sender is None else None
    own4 = [address for address in owned if isinstance(address, IPv4Address)]
    own6 = [address for address in owned if isinstance(address, IPv6Address)]
    payloads = {ICMP6: "icmpv6", UDP: "udp6"} if port.contain else {ICMP6: "icmpv6"}
    return {
        **start,
        "vlan": [*_accelerated_vlan(other_vlan)],
        **walking.tags("packet", other_vlan),
        "packet": [
            *(jump_if(ARP, "arp") if own4 else ()),
            *(jump_if(IPV4, "ipv4") if port.contain else ()),
            *(jump_if(IPV6, "ipv6") if port.contain or own6 else ()),
            PASS,
        ],
        "arp": [*jump_if_ipv4(LD_X, 28, own4, "drop"), PASS],  # the sender's address (RFC 826)
        "ipv4": walking.udp4("udp4", "pass"),
        "udp4": [*drop_if((DHCP_SERVER, DHCP_CLIENT)), PASS],
        **walking.ipv6(payloads, "pass"),
        "icmpv6": [
            (LDB_X, 14, 0, 0),
            *(drop_if((RS6, RA6)) if port.contain else ()),
            *(jump_if(NA6, "advertisement") if own6 else ()),
            PASS,
        ],
        "advertisement": [  # it claims its target address (RFC 4861 section 4.4)
            *walking.require_bytes(24),
            *(step for address in own6 for step in jump_if_ipv6(LD_X, 22, address, "drop")),
            PASS,
        ],
        "udp6": [(LDH_X, 16, 0, 0), *drop_if((DHCP6_CLIENT, DHCP6_SERVER)), PASS],
        "pass": [PASS],
        "drop": [DROP],
    }


def _accelerated_vlan(label: str | None) -> tuple[Instruction, ...]:
    """Jump if the tag that the kernel removed has a VLAN other than 0."""
    if label is None:
        return ()
    return (LD, VLAN_TAG, 0, 0), (AND, 0xFFF, 0, 0), (JEQ, 0, 1, 0), (JUMP, 0, label, 0)
