"""Netlink attributes packed by hand, for the few messages that pyroute2's classes don't fit."""

from __future__ import annotations

import struct


def attribute(kind: int, payload: bytes) -> bytes:
    """A struct rtattr with its payload, padded to four bytes (rtnetlink(3))."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)
