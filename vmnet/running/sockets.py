"""Connect to the sockets of the running VM, each of which serves one client at a time."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from vmnet.errors import GuestError
from vmnet.net import unix
from vmnet.net.unix import Client

_SECONDS, _POLL_SECONDS = 5.0, 0.05


class BusyError(GuestError):
    """QEMU is serving another client, and a socket serves one client at a time.

    :param others: the connected clients; none if the kernel does not tell
    """

    def __init__(self, path: Path, others: tuple[Client, ...]) -> None:
        self.clients = others
        super().__init__(
            f"{self.others} is connected to {path}, which serves one client at a time",
            "try again when that client has disconnected",
        )

    @property
    def others(self) -> str:
        """The connected clients, as text."""
        return " and ".join(map(str, self.clients)) or "another client"


def connect(path: Path, patience: float = _SECONDS, seconds: float = _SECONDS) -> socket.socket:
    """Connect to one of the VM's sockets.

    :param patience: seconds to wait for other clients to disconnect
    :param seconds: to wait for QEMU to accept the connection
    :raises BusyError: another client is still connected
    :raises GuestError: QEMU does not listen, or the socket belongs to another user
    """
    end = time.monotonic() + patience
    while True:
        others = unix.clients(path)
        if not others and (connection := _attempt(path, seconds)):
            return connection
        if time.monotonic() >= end:
            raise BusyError(path, others)
        time.sleep(_POLL_SECONDS)


def _attempt(path: Path, seconds: float) -> socket.socket | None:
    """Return a connection, or None if QEMU's queue is full of clients that have just connected."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    try:
        connection.connect(os.fspath(path))
    except BlockingIOError:
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise GuestError(
            f"can't connect to {path}: {error.strerror or error}",
            "only root can connect, while QEMU runs: check that this is the VM's container",
        ) from None
    return connection
