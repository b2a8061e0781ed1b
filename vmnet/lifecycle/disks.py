"""Create or enlarge disk images before the start changes the network."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from vmnet import process
from vmnet.errors import MachineError
from vmnet.lifecycle import files
from vmnet.model.devices import Device, Disk, Preparation
from vmnet.planning.image import record

_log = logging.getLogger(__name__)


def prepare(devices: Iterable[Device], undo: ExitStack) -> None:
    """Prepare the disks among the devices; the undo removes the images that this start created.

    An image that a start created has no content that could be lost. An enlarged image stays.

    :raises MachineError: an image can't be created or enlarged
    :raises StateError: the record of an image can't be written
    """
    for device in devices:
        if isinstance(device, Disk) and device.preparation is not None:
            _prepare(device.path, device.preparation, undo)


def record_use(devices: Iterable[Device], vm: str) -> None:
    """Record the format of each image to which the VM writes, and the VM's name."""
    for device in devices:
        if isinstance(device, Disk) and not (device.ephemeral or device.readonly or device.block):
            record.write(device.path, device.format, vm)


def _prepare(image: Path, preparation: Preparation, undo: ExitStack) -> None:
    try:
        if preparation.creates:
            _reserve(image, undo)
        if preparation.record is not None:
            files.write(preparation.record.path, preparation.record.content)
            undo.callback(preparation.record.path.unlink, missing_ok=True)
        outcome = process.run(preparation.argv)
    except (OSError, TimeoutError) as error:
        raise _failed(image, str(error)) from None
    if outcome.status:
        raise _failed(image, outcome.stderr or f"qemu-img exited with {outcome.status}")
    _log.info("%s %s", "created" if preparation.creates else "enlarged", image)


def _reserve(image: Path, undo: ExitStack) -> None:
    """Create an empty file: `qemu-img create` would replace an image that has appeared since."""
    image.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(image, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    undo.callback(image.unlink, missing_ok=True)


def _failed(image: Path, reason: str) -> MachineError:
    return MachineError(
        f"can't prepare the disk {image}: {reason}",
        f"is there room, and may root write to {image.parent}?",
    )
