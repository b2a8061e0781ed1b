"""Descriptors that become readable when followed files or network devices change.

The start creates them, because it has ctypes loaded. The keeper inherits them, and runs a program
when a descriptor becomes readable (:mod:`vmnet.supervision.keeper`).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from vmnet.model.base import frozen
from vmnet.model.delivery import Daemon

# inotify(7)
_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_TO, _CREATE = 0x2, 0x4, 0x8, 0x80, 0x100
_FILE_EVENTS = _MODIFY | _ATTRIB | _CLOSE_WRITE
_FOLDER_EVENTS = _MOVED_TO | _CREATE | _CLOSE_WRITE
# rtnetlink(7): links, their filters, IPv4 addresses and routes, IPv6 addresses
_NETWORK_GROUPS = 0x1 | 0x8 | 0x10 | 0x40 | 0x100
# RTM_GETLINK for the first device. The kernel's answer makes the socket readable.
_GET_LOOPBACK = struct.pack("=IHHIIBxHiII", 32, 18, 1, 0, 0, 0, 0, 1, 0, 0)


@frozen
class Watch:
    """A program to run when something changes.

    :param name: names the program in the log
    :param argv: a program that ends
    :param files: the files to watch; empty: the network
    :param known: the network devices that need no run of the program; None: all
    :param seconds: after which the keeper kills the program
    """

    name: str
    argv: tuple[str, ...]
    files: tuple[Path, ...] = ()
    known: frozenset[int] | None = None
    seconds: int = 10

    def open(self) -> int:
        """Return a descriptor that becomes readable when something changes.

        :raises OSError: the kernel refused
        """
        return files(self.files) if self.files else network(self.known)


def watch_of(daemon: Daemon) -> Iterator[Watch]:
    """Yield the watch of the files that a daemon follows."""
    if daemon.follows and daemon.refresh:
        yield Watch(f"refreshing {daemon.name}", daemon.refresh, daemon.follows)


def files(paths: Iterable[Path]) -> int:
    """Return a descriptor that becomes readable when a file changes or is created.

    In a container, an engine rewrites /etc/hosts in place. Only a watch of the file reports this,
    because /etc/hosts is a mount of a file in another folder. Elsewhere a new file replaces it,
    which only a watch of the folder reports. So both are watched, for a symbolic link and for its
    target.

    :raises OSError: the kernel refused
    """
    import ctypes  # the os module has no inotify

    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for path in paths:
        for file in {path, path.resolve()}:
            libc.inotify_add_watch(fd, os.fsencode(file), _FILE_EVENTS)  # fails if it is missing
            libc.inotify_add_watch(fd, os.fsencode(file.parent), _FOLDER_EVENTS)
    return fd


def network(known: Container[int] | None = None) -> int:
    """Return a descriptor that becomes readable when a network device, address or route changes.

    :param known: the indexes of devices; if there is another one, the descriptor is readable at
        once. None: any device is known
    :raises OSError: the kernel refused
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, _NETWORK_GROUPS))
        netlink.setblocking(False)
        if known is not None and not all(index in known for index, _ in socket.if_nameindex()):
            netlink.send(_GET_LOOPBACK)
        return netlink.detach()
