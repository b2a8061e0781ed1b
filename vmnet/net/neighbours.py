"""Who is where on a link, written down so that no frame can change it (rtnetlink(7))."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address

from vmnet.net import links, rtnl
from vmnet.net.attributes import attribute

_RTM_NEWNEIGH = 28
_AF_BRIDGE = 7
_NDMSG = struct.Struct("=BxxxiHBB")  # family, interface, state, flags, type
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_NOARP, _NUD_PERMANENT = 0x40, 0x80
_NTF_MASTER = 0x04
_NEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL


def add_forwarding_entry(kernel: rtnl.Rtnl, port: str, mac: bytes) -> None:
    """Have the bridge of a port send what is for a MAC to that port alone.

    It stays while the port is in the bridge, whether its carrier is there or not.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    # NUD_PERMANENT would stand for the bridge's own stack.
    body = _NDMSG.pack(_AF_BRIDGE, links.index(port), _NUD_NOARP, _NTF_MASTER, 0)
    kernel.send_body(_RTM_NEWNEIGH, _NEW, body + attribute(_NDA_LLADDR, mac))


def add_neighbour(kernel: rtnl.Rtnl, link: str, address: IPv4Address, mac: bytes) -> None:
    """Tell the kernel the MAC of an address on a link, which it then neither asks for nor learns.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    body = _NDMSG.pack(socket.AF_INET, links.index(link), _NUD_PERMANENT, 0, 0)
    attributes = attribute(_NDA_DST, address.packed) + attribute(_NDA_LLADDR, mac)
    kernel.send_body(_RTM_NEWNEIGH, _NEW, body + attributes)
