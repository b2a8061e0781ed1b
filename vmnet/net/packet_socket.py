"""Restrict what a packet socket receives (packet(7)).

Programs that run as long as the VM use this module too, so it imports as little as
:mod:`vmnet.net.packets`.
"""

from __future__ import annotations

import socket
import struct
from array import array

ETH_P_ALL = 3
_SO_ATTACH_FILTER, _SOL_PACKET, _PACKET_IGNORE_OUTGOING = 26, 263, 23
_INSTRUCTION_SIZE = 8  # bytes of struct sock_filter


def attach_filter(to: socket.socket, program: bytes) -> None:
    """Make the kernel drop the frames for which a classic BPF program returns zero (socket(7))."""
    kept = array("B", program)
    address, length = kept.buffer_info()
    described = struct.pack("@HP", length // _INSTRUCTION_SIZE, address)  # struct sock_fprog
    to.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def ignore_outgoing(to: socket.socket) -> None:
    """Make a socket receive no frames that this machine sends."""
    to.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
