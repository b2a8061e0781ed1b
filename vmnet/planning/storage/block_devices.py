"""Find what shares its content with a block device: its partitions, or a loop device's file."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_SYS = Path("/sys/dev/block")
_LOOP_MAJOR, _LOOP_GET_STATUS64 = 7, 0x4C05  # loop(4)
_LOOP_INFO64 = struct.Struct("=QQ216x")


def partitions(device: int) -> Iterator[int]:
    """Yield the numbers of a disk's partitions."""
    for partition in (_SYS / f"{os.major(device)}:{os.minor(device)}").glob("*/partition"):
        with suppress(FileNotFoundError):  # removed meanwhile
            major, minor = partition.with_name("dev").read_text().split(":")
            yield os.makedev(int(major), int(minor))


def backing_file(path: Path, device: int) -> tuple[int, int] | None:
    """Return the device and the inode of a loop device's file; None if there is none.

    :param path: of the loop device
    """
    if os.major(device) == _LOOP_MAJOR:
        with suppress(OSError):  # no permission, or no file
            loop = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                answer = fcntl.ioctl(loop, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64.size))
                return _LOOP_INFO64.unpack(answer)
            finally:
                os.close(loop)
    return None
