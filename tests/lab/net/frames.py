"""Send raw frames from a namespace, and record the frames that arrive there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from vmnet.net import packet_socket
from vmnet.net.packets import BROADCAST, mac_bytes

from ..wait import WAIT
from .namespace import Namespace


def send(sender: Namespace, *sent: bytes, by: str = "eth0") -> None:
    with sender.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
        card.bind((by, 0))
        for frame in sent:
            card.send(frame)


@contextmanager
def heard(where: Namespace, at: str = "eth0", *, sent: bool = False) -> Iterator[socket.socket]:
    """A socket that receives all frames that arrive at a namespace's NIC from now on.

    :param sent: receive the frames that the NIC sends, too
    """
    with where.entered():
        card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with card:
        if not sent:
            packet_socket.ignore_outgoing(card)
        card.bind((at, packet_socket.ETH_P_ALL))
        card.settimeout(WAIT)
        yield card


def until_seen(card: socket.socket, last: bytes) -> list[bytes]:
    """Return the frames before the last one; frames keep their order."""
    return list(iter(lambda: card.recv(65536), last))


def waiting(card: socket.socket) -> list[bytes]:
    """Return the frames that have arrived."""
    found, seconds = [], card.gettimeout()
    card.setblocking(False)
    try:
        while True:
            found.append(card.recv(65536))
    except BlockingIOError:
        return found
    finally:
        card.settimeout(seconds)


def forged(mac: str, payload: bytes = b"") -> bytes:
    """Return a broadcast frame of an experimental protocol."""
    return BROADCAST + mac_bytes(mac) + b"\x88\xb5" + payload.ljust(46, b"\0")
