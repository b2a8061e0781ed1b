"""The record of the command that a start executes, for `vmnet plan` in the VM's container.

A new plan there would lack the arguments of the start, and may choose another user for QEMU.
"""

from __future__ import annotations

import json
from pathlib import Path

from vmnet.errors import StateError
from vmnet.lifecycle import files
from vmnet.model.machine import Command
from vmnet.model.serial import from_json, plain

_FILE = "command.json"


def save(run_dir: Path, command: Command) -> None:
    """Write the record, which only root can read, because arguments may contain passwords.

    :raises StateError: the run directory can't be written
    """
    files.write(run_dir / _FILE, json.dumps(plain(command)).encode())


def discard(run_dir: Path) -> None:
    (run_dir / _FILE).unlink(missing_ok=True)


def load(run_dir: Path) -> Command:
    """Return the command of the last start.

    :raises StateError: the record is missing, or can't be read
    """
    path = run_dir / _FILE
    try:
        return from_json(files.read(path).decode(), Command)
    except (OSError, ValueError) as error:
        raise StateError(
            f"can't read {path}: {error}",
            "another version of vmnet may have started this VM: restart the container",
        ) from None
