"""The IPv4 addresses that a device has now.

Read without pyroute2, which would take longer to import than all of `vmnet health`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Interface

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_RTM_GETADDR, _NLM_F_REQUEST_DUMP = 22, 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_IFA_LOCAL = 2
_SECONDS, _BUFFER = 2.0, 1 << 16


def of(device: str) -> tuple[IPv4Interface, ...]:
    """The device's addresses in the kernel's order.

    :raises OSError: there is no such device, or the kernel does not say
    """
    index = socket.if_nametoindex(device)
    return tuple(found for at, found in _dump() if at == index)


def _dump() -> Iterator[tuple[int, IPv4Interface]]:
    """Each address with the index of its device."""
    body = _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
    request = _HEADER.pack(_HEADER.size + len(body), _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(request + body)
        while True:
            for kind, message in _messages(kernel.recv(_BUFFER)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", message)
                    raise OSError(-code, "the kernel does not tell addresses")
                _, prefix, _, _, index = _ADDRESS.unpack_from(message)
                if packed := _attribute(message, _IFA_LOCAL):
                    yield index, IPv4Interface((packed, prefix))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, start)
        yield kind, data[start + _HEADER.size : start + length]
        start += (length + 3) & ~3


def _attribute(message: bytes, wanted: int) -> bytes:
    start = _ADDRESS.size
    while start + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, start)
        if kind == wanted:
            return message[start + 4 : start + length]
        start += max((length + 3) & ~3, 4)
    return b""
