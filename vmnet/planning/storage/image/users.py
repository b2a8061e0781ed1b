"""Find out who uses an image that is locked, for the error message."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vmnet.model.names import shown
from vmnet.planning.storage.image import record

_PROC = Path("/proc")


def described(image: Path) -> str:
    """Return a phrase about the users of an image; empty if nothing is known.

    The container sees only its own processes, so another VM is usually known only from the record
    of its start.
    """
    if processes := list(_processes(image)):
        return ", ".join(processes)
    name = record.last_vm(image)
    return f"{shown(name)}, which was last started with it" if name else ""


def _processes(image: Path) -> Iterator[str]:
    """Yield the processes that have opened the image."""
    wanted = _identity(image)
    for folder in _PROC.glob("[1-9]*"):
        with suppress(OSError):  # the process has ended, or belongs to another user
            opened = (_identity(path) for path in (folder / "fd").iterdir())
            if folder.name != str(os.getpid()) and wanted in opened:
                name = (folder / "comm").read_text().strip()
                yield f"process {folder.name} ({shown(name)})"


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):  # the descriptor has been closed
        status = path.stat()
        return status.st_dev, status.st_ino
    return None
