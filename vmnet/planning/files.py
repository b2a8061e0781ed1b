"""Check the files that settings name, before anything changes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from vmnet import engine
from vmnet.errors import MachineError
from vmnet.settings.table import Setting, Settings


def opened(settings: Settings, row: Setting[Path | None]) -> Path | None:
    """Return the file that a setting names, after opening it once for reading.

    :raises MachineError: it is missing, can't be opened, or is neither a file nor a block device
    """
    path = settings[row]
    if path is not None:
        require(row.name, path)
    return path


def require(variable: str, path: Path, writable_unless: str = "") -> None:
    """Require that a file can be opened.

    :param writable_unless: the remedy if it can't be opened for writing; empty: it is only read

    :raises MachineError: it is missing, can't be opened, or is neither a file nor a block device
    """
    writable = bool(writable_unless)
    try:
        mode = path.stat().st_mode
        is_usable = stat.S_ISREG(mode) or stat.S_ISBLK(mode)
        if is_usable:  # opening a named pipe would block
            os.close(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))
    except FileNotFoundError:
        raise MachineError(
            f"{variable}={path}: there is no such file in the container",
            engine.mount(path),
        ) from None
    except OSError as error:
        verb = "opened for writing" if writable else "read"
        remedy = "check its owner and mode, and that it is not mounted `:ro`"
        if writable:
            remedy += f"; or {writable_unless}"
        raise MachineError(f"{variable}={path} can't be {verb}: {error.strerror}", remedy) from None
    if not is_usable:
        raise MachineError(
            f"{variable}={path} is neither a file nor a block device",
            engine.no_file(),
        )


def obstacle(path: Path) -> str:
    """Return why the file can't be written; empty if it can."""
    there = next(step for step in (path, *path.parents) if step.exists())
    if there != path and not there.is_dir():
        return f"{there} is not a folder"
    return "" if os.access(there, os.W_OK) else f"{there} is not writable"


def require_kept(folder: Path, path: Path, what: str) -> None:
    """Require that a file can be written in the folder of VMNET_DISK_STATE.

    :param folder: of VMNET_DISK_STATE
    :param what: the file keeps, for the error
    :raises MachineError: it can't
    """
    if found := obstacle(path):
        raise MachineError(
            f"VMNET_DISK_STATE={folder} can't keep {what}: {found}",
            "mount it writable, or set VMNET_DISK_STATE to another folder",
        )
