"""Encode and decode netlink messages and their attributes (netlink(7)). Pure functions.

This module imports nothing of vmnet, so a program that stays in memory can use it.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, kind, flags, sequence number, port
ERROR, DONE = 2, 3  # kinds
REQUEST, ACK, DUMP = 1, 4, 0x300  # flags
_TYPE = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


def message(kind: int, flags: int, body: bytes, sequence: int = 1) -> bytes:
    """Return a request."""
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, sequence, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield kind, flags, sequence number and body of each message in a datagram."""
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, start)
        yield kind, flags, sequence, data[start + HEADER.size : start + length]
        start += max(_aligned(length), HEADER.size)


def raise_if_refused(body: bytes) -> None:
    """Check the body of a message of kind ERROR, which can be an acknowledgement, or DONE.

    :raises OSError: the kernel refused the request
    """
    (code,) = struct.unpack_from("=i", body)
    if code:
        raise OSError(-code, os.strerror(-code))


def attribute(kind: int, payload: bytes) -> bytes:
    """Return an attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and payload of each attribute; ignore the rest from a malformed attribute on."""
    start = 0
    while start + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, start)
        if length < 4:
            return
        yield kind & _TYPE, data[start + 4 : start + length]
        start += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
