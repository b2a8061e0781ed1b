"""Recognise the disk of earlier starts when a variable names another image to download."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from vmnet.errors import MachineError
from vmnet.planning import files
from vmnet.planning.storage.image import lock, record
from vmnet.settings.disk_values import DiskValue

PART = ".part"
"""The ending of a download that is not complete and verified."""


def require_possible(variable: str, disk: DiskValue, all_disks: Collection[DiskValue]) -> None:
    """Check that an image can be downloaded.

    :param disk: a disk from a URL that is not there yet
    :param all_disks: the disks of this VM
    :raises MachineError: its folder can't be written, or has a disk that no variable names now
    """
    folder = disk.path.parent
    files.require_kept(folder.parent, folder, f"the download of {variable}={disk.url}")
    _require_no_former(variable, disk, all_disks)


def _require_no_former(variable: str, disk: DiskValue, all_disks: Collection[DiskValue]) -> None:
    """Check that a download would not replace a disk to which the guest has written.

    With another checksum or name, the image gets another path, so the VM would start with a new
    disk, as if all were lost.
    """
    if disk.mode != "persistent" or disk.readonly:
        return
    former = next(_former(disk.path.parent, {other.path for other in all_disks}), None)
    if former is None:
        return
    raise MachineError(
        f"{variable}={disk.url} would be a new disk; the disk of earlier starts is {former}",
        f"set the former URL and checksum, or {variable}={former}, to keep it; move it to another "
        "folder for a new disk; give each VM a VMNET_DISK_STATE of its own if it is another VM's",
    )


def _former(folder: Path, named: set[Path]) -> Iterator[Path]:
    """Yield the disks of earlier starts that no variable names and that no other VM uses now."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else ()
    for path in paths:
        if path in named or path.suffix == PART or not path.is_file():
            continue
        if record.may_be_disk(path) and not lock.is_used(path):
            yield path
