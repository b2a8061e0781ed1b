"""The current IPv4 addresses of a device."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Interface

from vmnet.net import dump, netlink

_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_IFA_LOCAL = 2


def of(device: str) -> tuple[IPv4Interface, ...]:
    """Return the device's addresses in the kernel's order.

    :raises OSError: there is no such device, or the kernel refused
    """
    wanted = socket.if_nametoindex(device)
    return tuple(address for index, address in _all() if index == wanted)


def _all() -> Iterator[tuple[int, IPv4Interface]]:
    """Yield each address with the index of its device."""
    for body in dump.bodies(dump.RTM_GETADDR, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, prefix, _, _, index = _ADDRESS.unpack_from(body)
        attributes = dict(netlink.attributes(body[_ADDRESS.size :]))
        if packed := attributes.get(_IFA_LOCAL):
            yield index, IPv4Interface((packed, prefix))
