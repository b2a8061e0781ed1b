"""Plan to create a blank image, or to enlarge an image; nothing ever shrinks an image."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from attrs import evolve

from vmnet import process
from vmnet.errors import MachineError
from vmnet.model.devices import Disk, Preparation
from vmnet.planning.storage.disk_settings import option
from vmnet.planning.storage.image import qcow2
from vmnet.planning.storage.image.reading import opened

_log = logging.getLogger(__name__)
_RESIZABLE = ("qcow2", "raw")


def blank(path: Path, image_format: str, size: int, variable: str = "VMNET_DISK") -> Disk:
    """Return a disk that the start creates, without content.

    :param variable: the variable that names the disk
    :raises MachineError: the image can't be created
    """
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise MachineError(
            f"{variable}={path} does not exist, and can't be created in {path.parent}",
            f"mount a folder: `-v vm:{path.parent}`",
        )
    argv = ("create", "-q", "-f", image_format, str(path), str(size))
    return prepared(Disk(path, image_format), Preparation(argv, creates=True))


def grown(disk: Disk, size: int | None, variable: str = "VMNET_DISK") -> Disk:
    """Return a disk that the start enlarges if it is smaller than a size.

    :param size: in bytes; None leaves the disk as it is
    :param variable: the variable that names the disk
    :raises MachineError: the disk can't be enlarged
    """
    if size is None:
        return disk
    setting = option(variable, "size")
    if disk.block or disk.format not in _RESIZABLE:
        what = "a block device" if disk.block else f"in the format {disk.format}"
        raise MachineError(
            f"{variable}={disk.path} is {what}, which {setting} can't enlarge",
            f"unset {setting}" + ("" if disk.block else ", or convert the image to qcow2"),
        )
    now = virtual_size(disk.path, disk.format)
    if now >= size:
        if now > size:
            _log.info(
                "%s is less than the %d bytes of %s: it stays",
                setting,
                now,
                disk.path,
                extra={"event": "disk.not_shrunk"},
            )
        return disk
    argv = ("resize", "-q", "-f", disk.format, str(disk.path), str(size))
    return prepared(disk, Preparation(argv, creates=False))


def virtual_size(path: Path, image_format: str) -> int:
    """Return the size of the disk that a guest sees, in bytes; 0 if only QEMU can tell.

    :raises MachineError: the image can't be read
    """
    try:
        with opened(path) as (read, length):
            if image_format == "raw":
                return length
            header = qcow2.header(read) if image_format == "qcow2" else None
            return header.size if header is not None else 0
    except OSError as error:
        raise MachineError(
            f"{path} can't be read: {error.strerror}", "check its owner and mode"
        ) from None


def prepared(disk: Disk, preparation: Preparation) -> Disk:
    """Return the disk with its preparation.

    :param preparation: with the arguments of qemu-img
    :raises MachineError: qemu-img is not installed
    """
    program = process.find("qemu-img")
    if program is None:
        raise MachineError("qemu-img is not installed", "`apt-get install qemu-utils`")
    argv = (str(program), *preparation.argv)
    return evolve(disk, preparation=evolve(preparation, argv=argv))
