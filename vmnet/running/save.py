"""Save the running VM for the next start: ``vmnet stop --save``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from vmnet import engine
from vmnet.errors import GuestError, StateError
from vmnet.lifecycle import command_record, saved_vm
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.model.machine import Command
from vmnet.running import qmp_session, snapshot_lock, snapshots
from vmnet.running.qmp_session import QmpSession
from vmnet.running.snapshots import BlockNode
from vmnet.running.stop import Stopped, quit_after_exit

_SETS, _JSON = "/dev/fdset/", "json:"


def save(record: VmRecord, run_dir: Path) -> Stopped:
    """Save memory and disks as a snapshot within the disks, and make QEMU quit.

    QEMU quits after this process, so the caller sees this process's own exit status.

    :raises GuestError: the VM can't be saved, and runs on
    :raises StateError: the start's record can't be read, or the run directory not be written
    """
    if record.qmp is None:
        raise GuestError(
            "this VM's hypervisor has no control socket", f"{engine.stop()} ends the container"
        )
    begun = time.monotonic()
    command = command_record.load(run_dir)
    with snapshot_lock.locked(run_dir), qmp_session.session(record.qmp) as qemu:
        images = _images(command, _savable(qemu), run_dir)
        version = describe_version(qemu.ask("query-version"))
        is_taken = is_done = False
        qemu.ask("stop")
        try:
            snapshots.create(qemu, saved_vm.SNAPSHOT)
            is_taken = True
            qemu.ask("stop")  # writes back what QEMU has cached of the images, too
            saved_vm.save(run_dir, saved_vm.describe(command, version, record.nics, images))
            is_done = True
        except OSError as error:
            raise StateError(f"can't read a disk: {error}", "the VM runs on") from None
        finally:
            if not is_done:
                _go_on(qemu, discard=is_taken)
    quit_after_exit(record.qmp)
    return Stopped("saved", round(time.monotonic() - begun, 1))


def _go_on(qemu: QmpSession, *, discard: bool) -> None:
    """Let the guest run on, and delete the snapshot that no start can resume without a record."""
    try:
        if discard:
            snapshots.delete(qemu, saved_vm.SNAPSHOT)
    finally:
        # After an interruption QEMU may still write, and answers only then.
        qemu.ask("cont", seconds=snapshots.SECONDS)


def _savable(qemu: QmpSession) -> tuple[BlockNode, ...]:
    """Return the disks that the guest can write.

    :raises GuestError: the VM can't be saved
    """
    if (status := qemu.ask("query-status")["status"]) != "running":
        raise GuestError(
            f"only a running guest can be saved, and this one is {status}",
            "`vmnet stop --force` ends it without saving",
        )
    found = snapshots.possible(qemu)
    if any(saved_vm.SNAPSHOT in disk.snapshots for disk in found):
        raise GuestError(
            "the disks contain a saved state already",
            f"`vmnet snapshot delete {saved_vm.SNAPSHOT}` discards it",
        )
    return tuple(found)


def _images(command: Command, found: tuple[BlockNode, ...], run_dir: Path) -> list[Path]:
    """Return the images of the disks, and what else QEMU writes: the variables of UEFI.

    Images that QEMU only reads are among them: the guest has cached their content. Those in the run
    directory are not, because each start makes them.
    """
    paths = {file.path for file in command.opened if file.writable}
    read = {file.path for file in command.opened if run_dir not in file.path.parents} - paths
    names = {_image(disk.file) for disk in found}
    paths |= {Path(name) for name in names if not name.startswith(_SETS)}
    if others := [path for path in paths if path.is_block_device() or not path.exists()]:
        raise GuestError(
            f"{others[0]} is not an image file, whose changes vmnet could recognise",
            "use a qcow2 image in a file, or `vmnet snapshot`",
        )
    return sorted(path for path in paths | read if path.is_file())


def _image(name: str) -> str:
    """Return the image that QEMU's name of a disk means. A disk with options has a name in JSON."""
    if not name.startswith(_JSON):
        return name
    return str(json.loads(name.removeprefix(_JSON))["file"]["filename"])


def describe_version(version: dict[str, Any]) -> str:
    """Return QEMU's answer to ``query-version`` as text."""
    return "{major}.{minor}.{micro} {package}".format(**version["qemu"], package=version["package"])
