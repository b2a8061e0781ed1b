"""The run directory: root writes there, and the next start believes what it finds.

So it must be out of everybody else's reach, by its own mode and by the folders above it, in which
others could put another in its place. Kubernetes makes an ``emptyDir`` root's with mode 0777, and
Docker a tmpfs likewise: such a folder is closed, provided that nothing is in it that others left.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vmnet.errors import StateError

MODE = 0o755  # dnsmasq and the responder read their files as users of their own
_OTHERS = 0o022  # may be written by the group or by all
_FOR_ALL = frozenset(map(Path, ("/tmp", "/var/tmp", "/dev/shm")))
_LINKS = 40  # path_resolution(7)
_REMEDY = (
    "have VMNET_RUN_DIR name a folder of root's that root alone can write, such as /run/vmnet, or "
    "mount a volume of its own there (`--tmpfs /run/vmnet`, an emptyDir at /run/vmnet)"
)


def make(path: Path) -> None:
    """Make the run directory, or see that it and what is above it are ours alone.

    :raises StateError: it is not, or the file system refuses
    """
    require(path)
    try:
        missing = [one for one in (path, *path.parents) if not one.exists()]
        for folder in reversed(missing):
            folder.mkdir(MODE, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"can't make {path}: {error.strerror}",
            "VMNET_RUN_DIR names the folder; with --read-only add `--tmpfs /run`",
        ) from None
    if missing:
        require(path)  # where others may write, one of them may have been faster


def require(path: Path) -> None:
    """See that a run directory, as far as it is there, is ours alone, and close it to others.

    :raises StateError: others can write it, or put another in its place, or it is no folder
    """
    for one, status in _steps(path):
        if not (stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise StateError(f"{one} is no folder", _REMEDY)
        if not _is_ours(status):
            raise StateError(f"{_described(one, status)} is not root's", _REMEDY)
        if one != path and _is_open(status) and not status.st_mode & stat.S_ISVTX:
            raise StateError(
                f"{_described(one, status)} is open to others, who could replace {path}", _REMEDY
            )
    real = path.resolve()
    if real in _FOR_ALL:  # other programs would lose it, QEMU's own snapshot among them
        raise StateError(f"{real} is for all programs, and the run directory is closed", _REMEDY)
    if real.is_dir() and _is_open(real.stat()):
        _close(real)


def _steps(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Each folder and symbolic link on the way to a path, as far as they exist."""
    here, ahead, links = Path("/"), list(reversed(path.parts[1:])), 0
    yield here, here.lstat()
    while ahead:
        name = ahead.pop()
        if name == "..":
            here = here.parent
            continue
        try:
            status = (here / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        yield here / name, status
        if not stat.S_ISLNK(status.st_mode):
            here = here / name
            continue
        links += 1
        target = (here / name).readlink()
        if links > _LINKS:
            raise StateError(f"{path} leads through too many symbolic links", _REMEDY)
        ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        here = Path("/") if target.is_absolute() else here


def _close(path: Path) -> None:
    """Close a folder that was open to others, and trust it only if they have left nothing there."""
    try:
        path.chmod(MODE)
        left = [(one, one.lstat()) for one in path.iterdir()]
    except OSError as error:
        raise StateError(
            f"{path} is open to others and can't be closed: {error.strerror}", _REMEDY
        ) from None
    for one, status in left:
        is_linked = stat.S_ISREG(status.st_mode) and status.st_nlink > 1
        if is_linked or stat.S_ISLNK(status.st_mode) or not _is_ours(status):
            raise StateError(
                f"{path} was open to others, and {_described(one, status)} is in it",
                f"see who left it there; `rm {one}` removes it",
            )


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _is_open(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and bool(status.st_mode & _OTHERS)


def _described(path: Path, status: os.stat_result) -> str:
    return f"{path} (user {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o})"
