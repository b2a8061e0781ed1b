"""Find out whether another VM has locked an image."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from vmnet.errors import MachineError
from vmnet.model.machine import Disk

# struct flock of fcntl(2): type, whence, start, length, PID.
_FLOCK = struct.Struct("hhqqi4x")
_F_OFD_GETLK = 36
# QEMU's block/file-posix.c locks a byte for each permission that it uses, and another for each that
# it denies to others. Writing is permission 1.
_USED, _DENIED = 101, 201


def require_free(disks: Iterable[Disk]) -> None:
    """Check that no other VM writes to an image, or denies that this VM writes to it.

    :raises MachineError: another VM has locked the image
    """
    for disk in disks:
        if _is_locked(disk.path, writable=not disk.ephemeral):
            raise MachineError(
                f"VMNET_DISK={disk.path} is in use by another VM",
                "stop that VM first, or give each VM a copy of the image",
            )


def _is_locked(path: Path, *, writable: bool) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _is_byte_locked(fd, _USED) or (writable and _is_byte_locked(fd, _DENIED))
    finally:
        os.close(fd)


def _is_byte_locked(fd: int, byte: int) -> bool:
    """Return whether any process holds a lock on a byte."""
    query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    answer = fcntl.fcntl(fd, _F_OFD_GETLK, query)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
