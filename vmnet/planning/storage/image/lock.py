"""Find out whether another VM has locked an image, or a file that the image refers to."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from vmnet import engine
from vmnet.errors import MachineError
from vmnet.model.devices import Disk

# struct flock of fcntl(2): type, whence, start, length, PID.
_FLOCK = struct.Struct("hhqqi4x")
_F_OFD_GETLK, _F_OFD_SETLK = 36, 37
# QEMU's block/file-posix.c locks a byte for each permission that it uses, and another for each that
# it denies to others. Writing is permission 1.
_USED, _DENIED = 101, 201
_HELD = 0  # of a file that is only for locking
# A file system without such locks. QEMU makes the same query first, and then uses none.
_UNSUPPORTED = frozenset((errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP))
_COPY = "a copy of the image"


def require_free(
    disks: Iterable[Disk], own: Mapping[Path, str] | None = None, state: Path | None = None
) -> None:
    """Check that no other VM writes to an image, or denies that this VM writes to it.

    :param own: the variables of the user's disks; the other disks are of plugins
    :param state: the folder of overlays and downloads, VMNET_DISK_STATE
    :raises MachineError: another VM has locked the image, or it can't be read
    """
    for disk in disks:
        name = _named(disk, own or {})
        try:
            locked = next((path for path, writes in _files(disk) if _is_locked(path, writes)), None)
        except OSError as error:
            raise MachineError(
                f"{name} can't be read: {error.strerror}",
                engine.mount(Path(error.filename or disk.path)),
            ) from None
        if locked is not None:
            from vmnet.planning.storage.image import users

            used = name if locked == disk.path else f"{locked}, to which {name} refers,"
            is_kept = state is not None and locked.is_relative_to(state)
            user = users.described(locked)
            raise MachineError(
                f"{used} is in use by another VM" + (f": {user}" if user else ""),
                "stop that VM first, or give each VM "
                + (f"another folder than VMNET_DISK_STATE={state}" if is_kept else _COPY),
            )


def _named(disk: Disk, own: Mapping[Path, str]) -> str:
    if disk.base is not None and disk.base.path in own:
        return f"the overlay {disk.path} of {own[disk.base.path]}={disk.base.path}"
    variable = own.get(disk.path)
    return f"{variable}={disk.path}" if variable else f"the disk {disk.path}"


def hold(fd: int) -> bool:
    """Lock a file that is open for writing, until all copies of the descriptor are closed.

    :return: whether no other process has locked it, as far as the file system has locks
    :raises OSError: it can't be locked
    """
    try:
        fcntl.fcntl(fd, _F_OFD_SETLK, _query(_HELD))
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return True


def is_held(path: Path) -> bool:
    """Return whether a process has locked a file by :func:`hold`; it locks nothing itself.

    :raises OSError: it can't be read
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _is_byte_locked(fd, _HELD)
    finally:
        os.close(fd)


def is_used(path: Path) -> bool:
    """Return whether another VM has locked a file that this VM writes to.

    :raises OSError: it can't be read
    """
    return _is_locked(path, writable=True)


def _files(disk: Disk) -> Iterator[tuple[Path, bool]]:
    """Yield the files of a disk, and whether this VM writes to them."""
    writable = not (disk.ephemeral or disk.readonly)
    if disk.preparation is None or not disk.preparation.creates:
        yield disk.path, writable
    if disk.base is not None:
        yield disk.base.path, False
    if disk.backed:
        from vmnet.planning.storage.image import chain

        yield from chain.files(disk.path, writable=writable)


def _is_locked(path: Path, writable: bool) -> bool:
    # O_NONBLOCK: opening a named pipe would block.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _is_byte_locked(fd, _USED) or (writable and _is_byte_locked(fd, _DENIED))
    finally:
        os.close(fd)


def _is_byte_locked(fd: int, byte: int) -> bool:
    """Return whether any process holds a lock on a byte."""
    try:
        answer = fcntl.fcntl(fd, _F_OFD_GETLK, _query(byte))
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _query(byte: int) -> bytes:
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
