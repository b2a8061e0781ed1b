"""Files that appear whole or not at all, and are read only if they are our own."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from vmnet.errors import StateError

Content = TypeVar("Content")


def write(path: Path, content: bytes, mode: int = 0o600, *, durable: bool = False) -> None:
    """Write a file beside its place and rename it there, making its folder.

    No link is followed: one in its place is replaced, and so is what a killed start left beside it.

    :param durable: also see it on the disk before going on
    :raises StateError: the file system refuses
    """
    beside = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, flags, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.rename(path)
    except OSError as error:
        raise StateError(
            f"can't write {path}: {error.strerror}",
            "VMNET_RUN_DIR names the folder; with --read-only add `--tmpfs /run`",
        ) from None


def read(path: Path) -> bytes:
    """Read a file that is believed, so one of root's or our own, and no link.

    :raises OSError: it is somebody else's, or can't be read
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would have us wait
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"it is user {status.st_uid}'s, or no file")
        return file.read()


def load(path: Path, build: Callable[[Any], Content]) -> Content | None:
    """Read a record that each start writes as JSON; None where there is none.

    :param build: make it of the document; raises ValueError, KeyError or TypeError if it can't
    :raises StateError: it can't be read
    """
    try:
        return build(json.loads(read(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"can't read {path}: {error!r}",
            "it is written at each start, and only root may read it: restart the container",
        ) from None
