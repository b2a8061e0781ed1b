"""Find the clients that are connected to a Unix socket, by sock_diag(7).

QEMU serves one client on each socket, and makes further clients wait without a message.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from vmnet.net import dump, netlink

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_ESTABLISHED = 1
_SHOW_NAME, _SHOW_PEER = 1, 4
_NAME, _PEER = 0, 2
_REQUEST = struct.Struct("=BBHIIIII")  # struct unix_diag_req
_REPLY = struct.Struct("=BBBBIII")  # struct unix_diag_msg


@frozen
class Client:
    """A process that has the other end of a connection.

    :param pid: 0 for a process that is not visible here, such as one outside of the container
    """

    pid: int
    name: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})" if self.pid else self.name


def clients(path: Path) -> tuple[Client, ...]:
    """Return the clients that the server at a path is serving.

    The result lacks clients in other network namespaces, and is empty if the kernel has no
    CONFIG_UNIX_DIAG.
    """
    names = set(map(os.fsencode, bound_names(path)))
    try:
        # The inode of a client that has left is 0, until the server notices.
        return tuple(_client(inode) for inode in _peers(names) if inode)
    except OSError:
        return ()


def bound_names(path: Path) -> tuple[Path, Path]:
    """Return the names to which the server at a path may have bound its socket.

    A start binds its sockets under a temporary name, see vmnet.lifecycle.become.
    """
    return path, path.with_name(f".{path.name}")


def is_connected(path: Path) -> bool | None:
    """Return whether a server at a path serves a client; None if the kernel does not report it."""
    try:
        return any(True for _ in _peers({os.fsencode(path)}))
    except OSError:
        return None


def _peers(names: set[bytes]) -> Iterator[int]:
    """Yield the inodes of the sockets that are connected to a server.

    The kernel does not report clients that the server has not accepted yet.
    """
    request = _REQUEST.pack(
        socket.AF_UNIX, 0, 0, 1 << _ESTABLISHED, 0, _SHOW_NAME | _SHOW_PEER, 0, 0
    )
    for body in dump.bodies(_SOCK_DIAG_BY_FAMILY, request, _NETLINK_SOCK_DIAG):
        attributes = dict(netlink.attributes(body[_REPLY.size :]))
        if attributes.get(_NAME, b"").rstrip(b"\0") in names:
            yield int.from_bytes(attributes.get(_PEER, b""), sys.byteorder)


def _client(inode: int) -> Client:
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended
            if any(str(fd.readlink()) == wanted for fd in (process / "fd").iterdir()):
                return Client(int(process.name), (process / "comm").read_text().strip())
    return Client(0, "a process outside of this container")
