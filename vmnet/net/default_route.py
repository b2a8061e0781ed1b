"""Add and delete IPv4 default routes, and read them without netlink (proc_net(5))."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

from vmnet.net import rtnl
from vmnet.net.netlink import attribute

_FILE = Path("/proc/self/net/route")
_RTMSG = struct.Struct("=8BI")
_MAIN, _STATIC, _UNICAST, _ONLINK = 254, 4, 1, 4
_RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 4, 5, 6
_METRIC = 1024


def routes() -> list[tuple[str, bytes, bytes]]:
    """Return device, destination and gateway of each route, the preferred one first.

    The addresses are packed; a default route has the destination 0.0.0.0.
    """
    lines = _FILE.read_text().splitlines()[1:]
    return [
        (name, _packed(to), _packed(gateway)) for name, to, gateway, *_ in map(str.split, lines)
    ]


def defaults() -> list[tuple[str, bytes]]:
    """Return device and gateway of each default route, the preferred one first."""
    return [(name, gateway) for name, to, gateway in routes() if to == bytes(4)]


def add(kernel: rtnl.Rtnl, index: int, gateway: bytes, *, onlink: bool) -> None:
    """Add a default route where there is none without a metric.

    :param index: of the device
    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    flags = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
    kernel.send_body(rtnl.RTM_NEWROUTE, flags, _body(index, gateway, onlink=onlink))


def prefer(kernel: rtnl.Rtnl, index: int, gateway: bytes, *, onlink: bool) -> None:
    """Add a default route before all others without a metric.

    :param index: of the device
    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    flags = rtnl.NLM_F_CREATE  # without APPEND: as the first
    kernel.send_body(rtnl.RTM_NEWROUTE, flags, _body(index, gateway, onlink=onlink))


def add_last(kernel: rtnl.Rtnl, index: int, gateway: bytes, *, onlink: bool) -> None:
    """Add a default route with a metric, so that another program can add one without a metric.

    :param index: of the device
    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    body = _body(index, gateway, onlink=onlink)
    metric = attribute(_RTA_PRIORITY, struct.pack("=I", _METRIC))
    kernel.send_body(rtnl.RTM_NEWROUTE, rtnl.NLM_F_CREATE, body + metric)


def delete(kernel: rtnl.Rtnl, index: int, gateway: bytes) -> None:
    """Delete a default route.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    kernel.send_body(rtnl.RTM_DELROUTE, 0, _body(index, gateway))


def _body(index: int, gateway: bytes, *, onlink: bool = False) -> bytes:
    flags = _ONLINK if onlink else 0
    body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, _MAIN, _STATIC, 0, _UNICAST, flags)
    return body + attribute(_RTA_OIF, struct.pack("=I", index)) + attribute(_RTA_GATEWAY, gateway)


def _packed(text: str) -> bytes:
    return int(text, 16).to_bytes(4, sys.byteorder)
