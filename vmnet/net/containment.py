"""What may cross an uplink: neither messages that stay on this side nor claims to be the guest.

While this container answers the guest's DHCP itself, the guest's requests must not leave, where
another server might answer first, and strangers' requests must not reach the server here. IPv6
extension headers, fragments and VLAN tags hide none of these messages.

From the network come no frames with the guest's MAC or the bridge's: a switch that reflects frames
to where they came from (hairpin mode), or a forger, sends those. Nor do claims of the guest's
addresses, which its own duplicate address detection would believe, and the bridge, nor of the
bridge's link-local address, where the guest asks for names.

A guest that may use VLANs, since nothing filters what it sends, has its own DHCP in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from vmnet.net import cbpf, rtnl, walking
from vmnet.net.cbpf import (
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
from vmnet.net.matching import (
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
    drop_kept_by_bridge,
    go,
    go_if_from,
    go_if_ipv4,
    go_if_ipv6,
    mac_bytes,
)
from vmnet.wiring import Port

_Addresses = Iterable[IPv4Address | IPv6Address]


def contain(kernel: rtnl.Rtnl, port: Port) -> bool:
    """Filter a port's uplink; answer whether this kernel can.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    programs = {cbpf.INGRESS: entering(port)}
    if port.contain:
        programs[cbpf.EGRESS] = leaving(port)
    return cbpf.attach(kernel, port.uplink, programs)


def remove(kernel: rtnl.Rtnl, uplink: str) -> None:
    """Take the filter away again; there may be none.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    cbpf.detach(kernel, uplink)


def entering(port: Port) -> Program:
    """The filter of what comes from the network."""
    start = [
        *drop_kept_by_bridge(),
        *go_if_from(mac_bytes(port.guest_mac), "drop"),
        *go_if_from(mac_bytes(port.bridge_mac), "drop"),
    ]
    return _program(start, port, (*port.owned, *_own_link_local(port)))


def _own_link_local(port: Port) -> tuple[IPv4Address, ...]:
    """The bridge's link-local address, which the guest may have as nameserver."""
    own = port.link_local or port.bridge_address
    return (own.ip,) if own.ip.is_link_local else ()


def leaving(port: Port) -> Program:
    """The filter of what goes to the network."""
    return _program([], port, ())


def _program(start: list[Instruction], port: Port, owned: _Addresses) -> Program:
    other_vlan = "pass" if port.sender is None else None
    own4 = [one for one in owned if isinstance(one, IPv4Address)]
    own6 = [one for one in owned if isinstance(one, IPv6Address)]
    payloads = {ICMP6: "icmpv6", UDP: "udp6"} if port.contain else {ICMP6: "icmpv6"}
    return {
        "start": [*start, *_accelerated_vlan(other_vlan)],
        **walking.tags("packet", other_vlan),
        "packet": [
            *(go(ARP, "arp") if own4 else ()),
            *(go(IPV4, "ipv4") if port.contain else ()),
            *(go(IPV6, "ipv6") if port.contain or own6 else ()),
            PASS,
        ],
        "arp": [*go_if_ipv4(LD_X, 28, own4, "drop"), PASS],  # the sender's (RFC 826)
        "ipv4": walking.udp4("udp4", "pass"),
        "udp4": [*drop_if((DHCP_SERVER, DHCP_CLIENT)), PASS],
        **walking.ipv6(payloads, "pass"),
        "icmpv6": [
            (LDB_X, 14, 0, 0),
            *(drop_if((RS6, RA6)) if port.contain else ()),
            *(go(NA6, "advertisement") if own6 else ()),
            PASS,
        ],
        "advertisement": [  # whose target is claimed (RFC 4861 section 4.4)
            *walking.holds(24),
            *(step for one in own6 for step in go_if_ipv6(LD_X, 22, one, "drop")),
            PASS,
        ],
        "udp6": [(LDH_X, 16, 0, 0), *drop_if((DHCP6_CLIENT, DHCP6_SERVER)), PASS],
        "pass": [PASS],
        "drop": [DROP],
    }


def _accelerated_vlan(other: str | None) -> tuple[Instruction, ...]:
    """Go on elsewhere with a VLAN other than 0 in the tag that the kernel took off."""
    if other is None:
        return ()
    return (LD, VLAN_TAG, 0, 0), (AND, 0xFFF, 0, 0), (JEQ, 0, 1, 0), (JUMP, 0, other, 0)
