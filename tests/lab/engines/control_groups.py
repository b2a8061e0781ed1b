"""Remove the control groups of an engine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..wait import WAIT, until

_ROOT = Path("/sys/fs/cgroup")


def remove(name: str) -> None:
    """Remove the groups with a name in all hierarchies, when their processes have ended."""

    def removed() -> bool:
        groups = list(_ROOT.glob(f"**/{name}"))
        for group in groups:
            for path, _, _ in os.walk(group, topdown=False):
                with suppress(OSError):  # only an empty group can be removed
                    Path(path).rmdir()
        return not any(group.exists() for group in groups)

    until(removed, WAIT, f"the control groups {name} to be empty")
