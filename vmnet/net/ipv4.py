"""The current IPv4 addresses and gateways of this network namespace."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface

from vmnet.net import dump, netlink

_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ROUTE = struct.Struct("=8BI")  # struct rtmsg
_IFA_LOCAL, _RTA_GATEWAY = 2, 5


def addresses(device: str) -> tuple[IPv4Interface, ...]:
    """Return the device's addresses in the kernel's order.

    :raises OSError: there is no such device, or the kernel refused
    """
    wanted = socket.if_nametoindex(device)
    return tuple(address for index, address in _addresses() if index == wanted)


def addresses_by_device() -> dict[str, list[str]]:
    """Return the addresses of every device that has any, with their prefix lengths.

    :raises OSError: the kernel refused
    """
    found: dict[str, list[str]] = {}
    for index, address in _addresses():
        found.setdefault(socket.if_indextoname(index), []).append(str(address))
    return found


def gateways() -> list[IPv4Address]:
    """Return the gateways of the default routes.

    :raises OSError: the kernel refused
    """
    found = []
    request = _ROUTE.pack(socket.AF_INET, *bytes(7), 0)
    for body in dump.bodies(dump.RTM_GETROUTE, request):
        prefix_length = body[1]
        gateway = dict(netlink.attributes(body[_ROUTE.size :])).get(_RTA_GATEWAY)
        if prefix_length == 0 and gateway:
            found.append(IPv4Address(gateway))
    return found


def _addresses() -> Iterator[tuple[int, IPv4Interface]]:
    """Yield each address with the index of its device."""
    for body in dump.bodies(dump.RTM_GETADDR, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, prefix, _, _, index = _ADDRESS.unpack_from(body)
        attributes = dict(netlink.attributes(body[_ADDRESS.size :]))
        if packed := attributes.get(_IFA_LOCAL):
            yield index, IPv4Interface((packed, prefix))
