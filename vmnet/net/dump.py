"""A small reader of rtnetlink dumps: importing pyroute2 takes longer than all of `vmnet health`."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

RTM_GETLINK, RTM_GETADDR = 18, 22
_NLM_F_REQUEST_DUMP = 0x301
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SECONDS, _BUFFER = 2.0, 1 << 16


def bodies(kind: int, request: bytes) -> Iterator[bytes]:
    """Yield the body of each message in the kernel's answer.

    :param kind: the type of the request, such as RTM_GETLINK
    :param request: its fixed part, such as struct ifinfomsg
    :raises OSError: the kernel refused, or did not answer in two seconds
    """
    header = _HEADER.pack(_HEADER.size + len(request), kind, _NLM_F_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(header + request)
        while True:
            for answer, body in _messages(kernel.recv(_BUFFER)):
                if answer == _NLMSG_DONE:
                    return
                if answer == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", body)
                    raise OSError(-code, "the kernel refuses to list its network")
                yield body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, start)
        yield kind, data[start + _HEADER.size : start + length]
        start += (length + 3) & ~3


def attribute(message: bytes, start: int, wanted: int) -> bytes:
    """Return the first attribute of a type; empty if there is none.

    :param start: the offset of the first attribute in the message
    """
    while start + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, start)
        if kind & 0x3FFF == wanted:
            return message[start + 4 : start + length]
        start += max((length + 3) & ~3, 4)
    return b""
