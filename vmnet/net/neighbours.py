"""Static neighbour and forwarding entries, which no frame can change (rtnetlink(7))."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from vmnet.net import links, rtnl
from vmnet.net.netlink import attribute
from vmnet.net.packets import mac_bytes

_AF_BRIDGE = 7
_NDMSG = struct.Struct("=BxxxiHBB")  # family, interface, state, flags, type
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_NOARP, _NUD_PERMANENT = 0x40, 0x80
_NTF_MASTER, _NTF_ROUTER = 0x04, 0x80
_NEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL


def add_forwarding_entry(kernel: rtnl.Rtnl, port: str, mac: str) -> None:
    """Make a bridge send frames for a MAC only to one of its ports.

    The entry remains while the port is in the bridge, even without a carrier.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    # NUD_PERMANENT would mean that the MAC is the bridge's own.
    body = _NDMSG.pack(_AF_BRIDGE, links.index(port), _NUD_NOARP, _NTF_MASTER, 0)
    kernel.send_body(rtnl.RTM_NEWNEIGH, _NEW, body + attribute(_NDA_LLADDR, mac_bytes(mac)))


def add_neighbour(
    kernel: rtnl.Rtnl,
    link: str,
    address: IPv4Address | IPv6Address,
    mac: str,
    *,
    router: bool = False,
) -> None:
    """Set the MAC of an address on a link, so that the kernel neither asks for it nor learns it.

    :param router: the address is a router's; a bridge says so when it answers for the address
        (RFC 4861 section 4.4), because a guest removes the routes through a host
    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    flags = _NTF_ROUTER if router else 0
    body = _NDMSG.pack(family, links.index(link), _NUD_PERMANENT, flags, 0)
    attributes = attribute(_NDA_DST, address.packed) + attribute(_NDA_LLADDR, mac_bytes(mac))
    kernel.send_body(rtnl.RTM_NEWNEIGH, _NEW, body + attributes)
