"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from vmnet.errors import StateError


def write(path: Path, content: bytes, mode: int = 0o600, *, durable: bool = False) -> None:
    """Write a file beside its place and rename it there, making its folder.

    :param durable: also see it on the disk before going on
    :raises StateError: the file system refuses
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
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
