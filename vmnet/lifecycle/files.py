"""Atomic writes, and reads of files that only root or vmnet can have written."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from vmnet.errors import StateError

Content = TypeVar("Content")
WRITABLE_HINT = "VMNET_RUN_DIR names the folder; with --read-only add `--tmpfs /run`"


def write(path: Path, content: bytes, mode: int = 0o600, *, durable: bool = False) -> None:
    """Write a temporary file and rename it to `path`; create its folder.

    No symbolic link is followed: a link at `path` is replaced, and so is the temporary file of a
    killed start.

    :param durable: sync the file to the disk first
    :raises StateError: the file can't be written
    """
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        with suppress(OSError):  # the error above is reported
            temporary.unlink(missing_ok=True)
        raise StateError(
            f"can't write {path}: {error.strerror}",
            WRITABLE_HINT,
        ) from None


def read(path: Path) -> bytes:
    """Read a trusted file: a regular file of root or of this process's user, and no link.

    :raises OSError: another user owns the file, or it can't be read
    """
    # O_NONBLOCK: opening a named pipe would block.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"user {status.st_uid} owns it, or it is not a regular file")
        return file.read()


def load(path: Path, build: Callable[[Any], Content]) -> Content | None:
    """Read a JSON record that each start writes, or return None if there is none.

    :param build: converts the document; raises ValueError, KeyError or TypeError if it can't
    :raises StateError: the record can't be read
    """
    try:
        return build(json.loads(read(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"can't read {path}: {error!r}",
            "each start writes it, and only root may read it: restart the container",
        ) from None
