"""Descriptors that become readable when something changes: followed files, network devices.

The start makes them, for it has ctypes loaded; the keeper inherits them and has a program run when
one becomes readable (:mod:`vmnet.lifecycle.keeper`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from vmnet.delivery import Daemon
from vmnet.noun import Noun, noun

# inotify(7)
_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_TO, _CREATE = 0x2, 0x4, 0x8, 0x80, 0x100
_OF_FILE = _MODIFY | _ATTRIB | _CLOSE_WRITE
_OF_FOLDER = _MOVED_TO | _CREATE | _CLOSE_WRITE
_RTMGRP_LINK = 1  # rtnetlink(7)


@noun
class Watch(Noun):
    """Something that may change while the VM runs.

    :param name: of what is run then, for the log
    :param argv: a program that ends by itself within ten seconds
    :param files: what may change; none of them means the network devices
    """

    name: str
    argv: tuple[str, ...]
    files: tuple[Path, ...] = ()

    def open(self) -> int:
        """A descriptor that is readable when there was a change.

        :raises OSError: the kernel refuses
        """
        return files(self.files) if self.files else links()


def of(daemon: Daemon) -> Iterator[Watch]:
    """The files that a daemon follows."""
    if daemon.follows and daemon.refresh:
        yield Watch(f"refreshing {daemon.name}", daemon.refresh, daemon.follows)


def files(paths: Iterable[Path]) -> int:
    """A descriptor that tells of changes to files, whether they exist now or come to.

    In a container an engine rewrites /etc/hosts in place, which only a watch of the file tells:
    what is mounted there is in another folder. Elsewhere a new file replaces it, which only a watch
    of the folder tells. So both are watched, those of a symbolic link and of what it points to.

    :raises OSError: the kernel refuses
    """
    import ctypes  # posix has no inotify

    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for path in paths:
        for one in {path, path.resolve()}:
            libc.inotify_add_watch(fd, os.fsencode(one), _OF_FILE)  # it may not be there yet
            libc.inotify_add_watch(fd, os.fsencode(one.parent), _OF_FOLDER)
    return fd


def links() -> int:
    """A descriptor that tells of network devices that come, go or change.

    :raises OSError: the kernel refuses
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as made:
        made.bind((0, _RTMGRP_LINK))
        made.setblocking(False)
        return made.detach()
