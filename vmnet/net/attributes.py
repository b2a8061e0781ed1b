"""Netlink attributes for the messages that pyroute2's classes cannot encode."""

from __future__ import annotations

import struct


def attribute(kind: int, payload: bytes) -> bytes:
    """Return a struct rtattr with its payload, padded to four bytes (rtnetlink(3))."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)
