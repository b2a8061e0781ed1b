"""Remove the control groups of an engine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..wait import WAIT, until

_ROOT = Path("/sys/fs/cgroup")


def named(name: str) -> list[Path]:
    """Return the groups with a name in all hierarchies."""
    # Not Path.glob, which fails when a group ends meanwhile.
    return [Path(above, name) for above, names, _ in os.walk(_ROOT) if name in names]


def remove(name: str) -> None:
    """Remove the groups with a name in all hierarchies, when their processes have ended."""

    def removed() -> bool:
        groups = named(name)
        for group in groups:
            for path, _, _ in os.walk(group, topdown=False):
                with suppress(OSError):  # only an empty group can be removed
                    Path(path).rmdir()
        return not any(group.exists() for group in groups)

    until(removed, WAIT, f"the control groups {name} to be empty")


def members(name: str) -> set[int]:
    """Return the processes in the groups with a name and in the groups below."""
    pids = set()
    for group in named(name):
        for path, _, _ in os.walk(group):
            with suppress(OSError):  # the group has ended
                pids |= set(map(int, Path(path, "cgroup.procs").read_text().split()))
    return pids
