"""Where a path is within its file system, whatever mounts lead to it (proc_pid_mountinfo(5)).

A bind mount shows a file under another path. Its place, the file system and the path within it, is
the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vmnet.model.base import frozen

_TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


class Place(NamedTuple):
    """A place in a file system.

    :param device: the file system's number, such as ``8:1``
    """

    device: str
    path: PurePosixPath

    def is_within(self, other: Place) -> bool:
        """Return whether the other place is this one, or a folder above it."""
        return self.device == other.device and self.path.is_relative_to(other.path)


class _Mount(NamedTuple):
    """A mount.

    :param parent: the mount on which its point is
    """

    number: str
    parent: str
    point: PurePosixPath
    root: Place


@frozen
class Mounts:
    """The mounts of this process."""

    _mounts: tuple[_Mount, ...]

    @classmethod
    def read(cls) -> Mounts:
        return cls.parse(_TABLE.read_text(errors="surrogateescape"))

    @classmethod
    def parse(cls, table: str) -> Mounts:
        return cls(tuple(map(_parsed, table.splitlines())))

    def place(self, path: Path) -> Place:
        """Return the place of a path, which need not exist."""
        real = PurePosixPath(os.path.realpath(path))
        if (mount := self._mount_of(real)) is None:  # after chroot(2) to a folder within a mount
            status = Path("/").stat()
            return Place(f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}", real)
        return mount.root._replace(path=mount.root.path / real.relative_to(mount.point))

    def _mount_of(self, real: PurePosixPath) -> _Mount | None:
        """Return the mount that contains a path; None if none does.

        As in the kernel, the path leads from the root through the mounts on its way. So a mount
        hides those on its parent whose points are below its own.
        """
        numbers = {mount.number for mount in self._mounts}
        found = None
        level = [mount for mount in self._mounts if mount.parent not in numbers - {mount.number}]
        while crossed := [mount for mount in level if real.is_relative_to(mount.point)]:
            # Of two on one point, the later is on top.
            found = min(reversed(crossed), key=lambda mount: len(mount.point.parts))
            level = [
                mount for mount in self._mounts if mount.parent == found.number != mount.number
            ]
        return found

    def below(self, folder: Path) -> Iterator[Place]:
        """Yield the places that a program sees in a folder: its own, and those mounted there."""
        yield self.place(folder)
        real = PurePosixPath(os.path.realpath(folder))
        for mount in self._mounts:
            if mount.point != real and mount.point.is_relative_to(real):
                yield mount.root


def _parsed(line: str) -> _Mount:
    number, parent, device, root, point, *_ = line.split(" ")
    return _Mount(number, parent, _path(point), Place(device, _path(root)))


def _path(escaped: str) -> PurePosixPath:
    return PurePosixPath(_OCTAL.sub(lambda found: chr(int(found[1], 8)), escaped))
