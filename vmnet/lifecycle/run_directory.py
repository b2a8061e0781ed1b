"""The run directory: root writes to it, and the next start trusts its content.

So no other user may write to it, nor replace it through a folder above it. Kubernetes creates an
``emptyDir``, and Docker a tmpfs, with mode 0777 and owner root. vmnet closes such a folder to other
users, and refuses it if they have left files there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vmnet.errors import StateError
from vmnet.lifecycle import files

MODE = 0o755  # dnsmasq and the responder are other users, and read their files here
_OTHERS = 0o022  # write permission of the group and of all users
_SHARED = frozenset(map(Path, ("/tmp", "/var/tmp", "/dev/shm")))
_LINKS = 40  # path_resolution(7)
_REMEDY = (
    "set VMNET_RUN_DIR to a folder that root owns and only root can write, such as /run/vmnet, or "
    "mount a separate volume there (`--tmpfs /run/vmnet`, an emptyDir at /run/vmnet)"
)


def make(path: Path) -> None:
    """Create the run directory if it is missing, and require that only root can change it.

    :raises StateError: another user can change it, or it can't be created
    """
    require(path)
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(MODE, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"can't create {path}: {error.strerror}",
            files.WRITABLE_HINT,
        ) from None
    if missing:
        require(path)  # another user may have created it first, in a folder such as /tmp


def require(path: Path) -> None:
    """Require that only root can change the run directory, and close it to other users.

    :raises StateError: another user can write to it or replace it, or it is not a folder
    """
    for step, status in _steps(path):
        if not (stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise StateError(f"{step} is not a folder", _REMEDY)
        if not _is_ours(status):
            raise StateError(f"{_described(step, status)} does not belong to root", _REMEDY)
        if step != path and _is_open(status) and not status.st_mode & stat.S_ISVTX:
            raise StateError(
                f"other users can write to {_described(step, status)}, and replace {path}", _REMEDY
            )
    real = path.resolve()
    if real in _SHARED:  # other programs need it, QEMU's snapshots for example
        raise StateError(
            f"{real} is shared by all programs and can't be the run directory, which is closed to "
            "other users",
            _REMEDY,
        )
    if real.is_dir() and _is_open(real.stat()):
        _close(real)


def _steps(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each existing folder and symbolic link on the way to a path."""
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
    """Close a folder to other users, and require that they have left nothing in it."""
    try:
        path.chmod(MODE)
        entries = [(entry, entry.lstat()) for entry in path.iterdir()]
    except OSError as error:
        raise StateError(
            f"other users can write to {path}, and it can't be closed: {error.strerror}", _REMEDY
        ) from None
    for entry, status in entries:
        is_linked = stat.S_ISREG(status.st_mode) and status.st_nlink > 1
        if is_linked or stat.S_ISLNK(status.st_mode) or not _is_ours(status):
            raise StateError(
                f"other users could write to {path}, and it contains {_described(entry, status)}",
                f"find out who created this file, and remove it with `rm {entry}`",
            )


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _is_open(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and bool(status.st_mode & _OTHERS)


def _described(path: Path, status: os.stat_result) -> str:
    return f"{path} (user {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o})"
