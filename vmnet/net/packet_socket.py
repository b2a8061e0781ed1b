"""Restrict what a packet socket receives (packet(7)), and receive it.

Programs that run as long as the VM use this module too, so it imports as little as
:mod:`vmnet.net.packets`.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ETH_P_ALL = 3
_SO_ATTACH_FILTER, _SOL_PACKET, _PACKET_IGNORE_OUTGOING = 26, 263, 23
_INSTRUCTION_SIZE = 8  # bytes of struct sock_filter
_PACKET_SIZE = 2048
_MAX_LATE = 512  # packets; more than a socket's default receive buffer has room for


def attach_filter(to: socket.socket, program: bytes) -> None:
    """Make the kernel drop the frames for which a classic BPF program returns zero (socket(7))."""
    kept = array("B", program)
    address, length = kept.buffer_info()
    described = struct.pack("@HP", length // _INSTRUCTION_SIZE, address)  # struct sock_fprog
    to.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def ignore_outgoing(to: socket.socket) -> None:
    """Make a socket receive no frames that this machine sends."""
    to.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)


def receive(link: socket.socket, deadline: float) -> Iterator[tuple[bytes, Any]]:
    """Yield packets and their senders' addresses until a deadline (time.monotonic).

    On a busy machine, this process may not run before the deadline. So packets that have arrived
    meanwhile are yielded, too, but not more of them than a socket stores: a flood never ends.
    """
    late = 0
    while late < _MAX_LATE:
        left = deadline - time.monotonic()
        late += left <= 0
        if not select.select([link], [], [], max(left, 0))[0]:
            return
        yield link.recvfrom(_PACKET_SIZE)
