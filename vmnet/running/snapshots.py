"""Snapshots of the running VM, memory and disks, within its qcow2 images.

QEMU pauses the guest while it writes or reads the memory. qemu-qmp-ref(7) documents the jobs.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

from vmnet.errors import GuestError
from vmnet.model.base import frozen
from vmnet.running.qmp_session import QmpSession

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
"""The names of snapshots. QEMU would mistake a number for an identifier."""

_TEMPORARY = re.compile(r"/vl\.\w{6}\b")  # in QEMU's name of a file
_JOB = "vmnet-snapshot-"
# For all of a job: QEMU answers nothing while it writes or reads the memory.
SECONDS = 3600.0
_POLL_SECONDS = 0.1


@frozen
class Snapshot:
    """A snapshot.

    :param created: seconds since 1970
    :param memory: bytes of the guest's memory
    :param complete: whether each writable disk has it
    """

    name: str
    created: int
    memory: int
    complete: bool


@frozen
class BlockNode:
    """A disk of the VM, which the guest can write.

    :param node: QEMU's name of it
    :param file: QEMU's name of its image
    :param snapshots: by name: the time and the bytes of memory
    """

    device: str
    node: str
    file: str
    driver: str
    is_temporary: bool
    snapshots: dict[str, tuple[int, int]]


def disks(blocks: Iterable[dict[str, Any]]) -> tuple[BlockNode, ...]:
    """Return the disks that the guest can write.

    The variables of UEFI are not among them: they are part of the guest's memory.

    :param blocks: QEMU's answer to ``query-block``
    """
    return tuple(
        BlockNode(
            block["device"],
            block["inserted"]["node-name"],
            block["inserted"]["file"],
            block["inserted"]["drv"],
            _is_temporary(block["inserted"]),
            {
                found["name"]: (found["date-sec"], found["vm-state-size"])
                for found in block["inserted"]["image"].get("snapshots", ())
            },
        )
        for block in blocks
        if "inserted" in block
        and not block["inserted"]["ro"]
        and not block["device"].startswith("pflash")
        and not block.get("qdev", "").startswith("/machine/system.flash")
    )


def _is_temporary(inserted: dict[str, Any]) -> bool:
    """Return whether the image is the overlay of ``snapshot=on``, which ends with QEMU."""
    return bool(inserted["backing_file_depth"]) and bool(_TEMPORARY.search(inserted["file"]))


def usable(found: Sequence[BlockNode]) -> Sequence[BlockNode]:
    """Return the disks if each can contain snapshots.

    :raises GuestError: one can't, or there is none
    """
    if not found:
        raise GuestError(
            "this VM has no writable disk that could contain a snapshot",
            "snapshots are within a qcow2 image: set VMNET_DISK to one, or VMNET_DISK_MODE=overlay",
        )
    for disk in found:
        if disk.is_temporary:
            raise GuestError(
                f"the writes to {disk.device} end with the VM (VMNET_DISK_MODE=ephemeral), and so "
                "would a snapshot",
                "set VMNET_DISK_MODE=overlay, which leaves the image unchanged, too",
            )
        if disk.driver != "qcow2":
            raise GuestError(
                f"{disk.device} is {disk.driver}, which can't contain a snapshot",
                "set VMNET_DISK_MODE=overlay, or convert it while no VM uses it: "
                "`qemu-img convert -O qcow2 OLD NEW.qcow2`",
            )
    return found


def snapshots(found: Sequence[BlockNode]) -> tuple[Snapshot, ...]:
    """Return the snapshots that have the guest's memory, oldest first."""
    if not found:
        return ()
    names = {
        name: content
        for disk in found
        for name, content in disk.snapshots.items()
        if content[1] or disk is found[0]
    }
    made = (
        Snapshot(name, created, memory, all(name in disk.snapshots for disk in found))
        for name, (created, memory) in names.items()
    )
    return tuple(sorted(made, key=lambda snapshot: (snapshot.created, snapshot.name)))


def possible(qemu: QmpSession) -> Sequence[BlockNode]:
    """Return the disks that the guest can write if the VM can have snapshots with its memory.

    :raises GuestError: it can't
    """
    if reasons := qemu.ask("query-migrate").get("blocked-reasons"):
        raise GuestError(
            f"this VM can't have snapshots: {'; '.join(reasons)}",
            "start it without the device, such as shared folders (VMNET_SHARE) or a disk with "
            "bus=nvme",
        )
    return usable(disks(qemu.ask("query-block")))


def create(qemu: QmpSession, name: str) -> None:
    """Take a snapshot.

    :raises GuestError: a disk or the VM can't have it, the name is in use, or QEMU fails
    """
    found = possible(qemu)
    if any(name in disk.snapshots for disk in found):
        raise GuestError(
            f"there is a snapshot {name} already", "delete it first, or choose another name"
        )
    nodes = [disk.node for disk in found]
    _run(qemu, "snapshot-save", {"tag": name, "vmstate": nodes[0], "devices": nodes})


def restore(qemu: QmpSession, name: str) -> None:
    """Return the VM to a snapshot. If QEMU fails, the guest stays paused.

    :raises GuestError: there is no such snapshot, or QEMU fails
    """
    arguments = _restorable(qemu, name)
    try:
        _run(qemu, "snapshot-load", arguments)
    except GuestError as error:
        raise GuestError(
            f"{error.message}; the guest is paused",
            "its disks may have the snapshot's content already. Was the VM different at the time "
            "(memory, CPUs, devices, QEMU)? A restart of the container boots from the disks",
        ) from None


def load(qemu: QmpSession, name: str) -> None:
    """Return the VM to a snapshot, or leave it without a valid state, which a reset makes anew.

    :raises GuestError: there is no such snapshot, or QEMU fails
    """
    _run(qemu, "snapshot-load", _restorable(qemu, name))


def _restorable(qemu: QmpSession, name: str) -> dict[str, Any]:
    """Return the arguments of the job that restores a snapshot.

    :raises GuestError: it can't be restored
    """
    found = possible(qemu)
    snapshot = _require(found, name)
    if not snapshot.complete or not snapshot.memory:
        raise GuestError(
            f"snapshot {name} lacks the memory, or one of the VM's disks",
            "restore it by `qemu-img snapshot -a` of each disk, while no VM uses them",
        )
    vmstate, *others = (disk.node for disk in found if disk.snapshots[name][1])
    if others:
        raise GuestError(
            f"{len(others) + 1} disks have a memory named {name}: they were disks of different VMs",
            f"delete the wrong one while no VM uses the disk: `qemu-img snapshot -d {name} DISK`",
        )
    return {"tag": name, "vmstate": vmstate, "devices": [disk.node for disk in found]}


def delete(qemu: QmpSession, name: str) -> None:
    """Delete a snapshot from each disk.

    :raises GuestError: there is no such snapshot, or QEMU fails
    """
    found = usable(disks(qemu.ask("query-block")))
    _require(found, name)
    nodes = [disk.node for disk in found if name in disk.snapshots]
    _run(qemu, "snapshot-delete", {"tag": name, "devices": nodes})


def _require(found: Sequence[BlockNode], name: str) -> Snapshot:
    known = {snapshot.name: snapshot for snapshot in snapshots(found)}
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there are none"
        raise GuestError(f"there is no snapshot {name}", f"{there}: see `vmnet snapshot list`")
    return known[name]


def _run(qemu: QmpSession, command: str, arguments: dict[str, Any]) -> None:
    """Run a job of QEMU to its end.

    :raises GuestError: it fails
    """
    for job in _jobs(qemu):  # a program that was interrupted may have left its job
        if job["status"] == "concluded":
            qemu.ask("job-dismiss", {"id": job["id"]})
        else:
            raise GuestError("QEMU still works on another snapshot", "try again when it is done")
    number = f"{_JOB}{os.getpid()}"
    end = time.monotonic() + SECONDS
    qemu.ask(command, {"job-id": number, **arguments}, seconds=SECONDS)
    while (job := _own(qemu, number, end))["status"] != "concluded":
        if time.monotonic() >= end:
            raise GuestError(f"{command} takes longer than {SECONDS:g} s", "is the disk hung?")
        time.sleep(_POLL_SECONDS)
    qemu.ask("job-dismiss", {"id": number})
    if why := job.get("error"):
        raise GuestError(
            f"QEMU does not carry out {command}: {why}",
            "is there room on the host's disk? Some devices prevent snapshots",
        )


def _own(qemu: QmpSession, number: str, end: float) -> dict[str, Any]:
    left = max(end - time.monotonic(), 1.0)
    (job,) = (job for job in _jobs(qemu, left) if job["id"] == number)
    return job


def _jobs(qemu: QmpSession, seconds: float = SECONDS) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = qemu.ask("query-jobs", seconds=seconds)
    return [job for job in jobs if job["id"].startswith(_JOB)]
