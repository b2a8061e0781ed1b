"""The folder of a private engine's data, which the next run removes if this run is killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..command import run
from ..wait import WAIT, until
from . import control_groups

# overlayfs needs a real disk, and /tmp may be a tmpfs.
_DISK = Path("/var/tmp")
_PREFIX = "vmnet-engine-"


@contextmanager
def data_folder() -> Iterator[Path]:
    """Make a folder on a real disk.

    At the end, the programs of the engine are killed and its containers, too. The control groups
    with the folder's name, the mounts in the folder and the folder are removed.
    """
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_DISK))
    folder.chmod(0o711)  # root of a user namespace must enter the folder
    try:
        yield folder
    finally:
        _remove(folder)


def end_users(folder: Path) -> None:
    """Kill the programs with the folder in their arguments, and those in containers in it."""
    until(lambda: not kill(_users(folder)), WAIT, f"the programs of {folder} to end")


def kill(pids: Iterable[int]) -> list[int]:
    """Kill processes, and return those that had not ended."""
    killed = []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    return killed


def _remove(folder: Path) -> None:
    end_users(folder)
    for mount in reversed(_mounts(folder)):
        run("umount", "-l", mount, check=False)
    control_groups.remove(folder.name)
    shutil.rmtree(folder, ignore_errors=True)


def _users(folder: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if os.fsencode(folder) in (process / "cmdline").read_bytes() or _roots_in(
                folder, (process / "mountinfo").read_text()
            ):
                yield int(process.name)


def _roots_in(folder: Path, mountinfo: str) -> bool:
    """Return whether a process's root is an overlay of layers in a folder (proc(5))."""
    lines = (line.split() for line in mountinfo.splitlines())
    return any(fields[4] == "/" and f"{folder}/" in fields[-1] for fields in lines)


def _mounts(folder: Path) -> list[str]:
    """Return the mount points in a folder, in the order in which they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4] for line in lines)
    return [point for point in points if point.startswith(f"{folder}/")]


def _sweep() -> None:
    """Remove what killed runs left behind. A folder's name contains the run's process ID."""
    for folder in _DISK.glob(f"{_PREFIX}*"):
        owner = re.match(rf"{_PREFIX}(\d+)-", folder.name)
        if owner and not Path("/proc", owner[1]).exists():
            _remove(folder)
