"""Plan an overlay: a qcow2 image with the guest's writes, on an image that stays as it is.

Several VMs can share the image below. An overlay is useless on any other image, so a record next
to it identifies the image that it was made on.
"""

from __future__ import annotations

import json
from pathlib import Path

from vmnet import engine
from vmnet.errors import MachineError
from vmnet.model.delivery import File
from vmnet.model.devices import Base, Disk, Preparation
from vmnet.planning import files
from vmnet.planning.storage.image import choose, qcow2, resize
from vmnet.planning.storage.image.reading import opened


def plan(
    base: Path,
    base_format: str,
    folder: Path,
    size: int | None,
    variable: str = "VMNET_DISK",
) -> Disk:
    """Return the disk whose overlay is in a folder; a start creates the overlay if it is missing.

    :param size: the guest's disk in bytes; None for that of the image
    :param variable: the variable that names the image: the overlay of VMNET_DISK2 is
        ``overlay2.qcow2``
    :raises MachineError: the overlay is damaged, or belongs to another image, or can't be written
    """
    name = f"overlay{variable.removeprefix('VMNET_DISK')}"
    path, record = folder / f"{name}.qcow2", File(folder / f"{name}.json", _identified(base))
    disk = Disk(path, "qcow2", base=Base(base, base_format, base.is_block_device()))
    files.require_kept(folder, path, f"the overlay of {variable}={base}")
    if path.exists():
        _require_made_on(path, record, disk.base, variable)
        return resize.grown(disk, size, variable)
    argv: tuple[str, ...] = (
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        base_format,
        "-b",
        str(base),
        str(path),
    )
    if size is not None and size > resize.virtual_size(base, base_format):
        argv = (*argv, str(size))
    return resize.prepared(disk, Preparation(argv, creates=True, record=record))


def _require_made_on(path: Path, record: File, base: Base | None, variable: str) -> None:
    assert base is not None
    if not path.stat().st_size:
        raise MachineError(
            f"the overlay {path} of {variable}={base.path} is empty: "
            "the start that made it was killed",
            f"`rm {path}`, and the next start makes it again",
        )
    try:  # Its header and tables are consistent, and the base is there.
        choose.disk(path, "qcow2", folders=(base.path.parent,))
    except MachineError as error:
        raise MachineError(
            f"the overlay {path} of {variable}={base.path} can't be used: {error.message}",
            f"restore both from a backup. `rm {path}` discards what the guest has written, and the "
            "next start makes a new overlay",
        ) from None
    with opened(path) as (read, _):
        header = qcow2.header(read)
        assert header is not None
        backing, backing_format, _ = qcow2.names(read, header)
    found = record.path.read_bytes() if record.path.exists() else b""
    if (backing, backing_format, found) != (str(base.path), base.format, record.content):
        raise MachineError(
            f"the overlay {path} was not made on {variable}={base.path} as it is now",
            "put the former image back, or set VMNET_DISK_STATE to an empty folder for a new "
            f"overlay. `rm {path}` discards what the guest has written",
        )


def _identified(base: Path) -> bytes:
    """Return a record of the image's path, length and date.

    An image in a layer of a container image keeps its date, in whole seconds, on every host.
    """
    try:
        with opened(base) as (_, length):
            date = int(base.stat().st_mtime)
    except OSError as error:
        raise MachineError(
            f"VMNET_DISK={base} can't be read: {error.strerror}", engine.mount(base)
        ) from None
    return json.dumps({"image": str(base), "bytes": length, "modified": date}).encode() + b"\n"
