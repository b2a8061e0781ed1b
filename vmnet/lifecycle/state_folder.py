"""Lock the folder of VMNET_DISK_STATE for the VM, and write to it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from vmnet.errors import MachineError, StateError
from vmnet.lifecycle import files
from vmnet.planning.storage import state_folder
from vmnet.planning.storage.image import lock, record
from vmnet.planning.storage.state_folder import StateFolder


def hold(folder: StateFolder, vm: str, undo: ExitStack) -> int:
    """Lock the folder, and return the descriptor: the lock lasts until its last copy is closed.

    :param vm: the VM's name, for the error of another VM
    :raises MachineError: another VM has locked the folder, or it can't be written
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder.lock, flags, 0o600)
        undo.callback(os.close, fd)
        is_ours = lock.hold(fd)
    except OSError as error:
        raise state_folder.unusable(folder, error) from None
    if not is_ours:
        raise state_folder.in_use(folder)
    record.write_vm(folder.lock, vm)
    return fd


def write(path: Path, content: bytes) -> None:
    """Write a file of the folder, durably.

    :raises MachineError: it can't be written
    """
    try:
        files.write(path, content, durable=True)
    except StateError as error:
        raise MachineError(
            error.message,
            "is there room? VMNET_DISK_STATE names the folder, which root must be able to write to",
        ) from None
