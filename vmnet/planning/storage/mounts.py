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
    point: PurePosixPath
    root: Place


@frozen
class Mounts:
    """The mounts of this process, in the kernel's order."""

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
        # Of two mounts on one folder, the later hides the earlier.
        mounts = [mount for mount in self._mounts if real.is_relative_to(mount.point)]
        best = max(enumerate(mounts), key=lambda item: (len(item[1].point.parts), item[0]))[1]
        return best.root._replace(path=best.root.path / real.relative_to(best.point))

    def below(self, folder: Path) -> Iterator[Place]:
        """Yield the places that a program sees in a folder: its own, and those mounted there."""
        yield self.place(folder)
        real = PurePosixPath(os.path.realpath(folder))
        for mount in self._mounts:
            if mount.point != real and mount.point.is_relative_to(real):
                yield mount.root


def _parsed(line: str) -> _Mount:
    _, _, device, root, point, *_ = line.split(" ")
    return _Mount(_path(point), Place(device, _path(root)))


def _path(escaped: str) -> PurePosixPath:
    return PurePosixPath(_OCTAL.sub(lambda found: chr(int(found[1], 8)), escaped))
