"""Create or enlarge disk images before the start changes the network."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from vmnet import process
from vmnet.errors import MachineError
from vmnet.lifecycle import state_folder
from vmnet.model.devices import Device, Disk, Preparation
from vmnet.planning.storage.image import lock, record

_log = logging.getLogger(__name__)
# A file system without hard links, such as vfat.
_NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


def prepare(devices: Iterable[Device], undo: ExitStack) -> None:
    """Prepare the disks among the devices; the undo removes the images that this start created.

    An image that a start created has no content that could be lost. An enlarged image stays.

    :raises MachineError: an image can't be created or enlarged
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
            _create(image, preparation, undo)
        else:
            _run(image, preparation.argv)
    except FileExistsError:
        raise MachineError(
            f"another start has just created the disk {image}",
            "only one VM may use it: give each VM a disk and a VMNET_DISK_STATE of its own",
        ) from None
    except (OSError, TimeoutError) as error:
        raise _failed(image, str(error)) from None
    _log.info(
        "%s %s",
        "created" if preparation.creates else "enlarged",
        image,
        extra={"event": "disk.prepared"},
    )


def _create(image: Path, preparation: Preparation, undo: ExitStack) -> None:
    """Create an image under a temporary name, so that its own name never has an incomplete one."""
    image.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=".vmnet-", suffix=".new", dir=image.parent)
    os.close(fd)
    temporary = Path(name)
    with ExitStack() as new:
        new.callback(temporary.unlink, missing_ok=True)
        _run(image, tuple(name if word == str(image) else word for word in preparation.argv))
        _sync(temporary)
        if preparation.record is not None:
            state_folder.write(preparation.record.path, preparation.record.content)
            undo.callback(preparation.record.path.unlink, missing_ok=True)
        _publish(temporary, image)
        undo.callback(_remove, image)


def _run(image: Path, argv: tuple[str, ...]) -> None:
    outcome = process.run(argv)
    if outcome.status:
        raise _failed(image, outcome.stderr or f"qemu-img exited with {outcome.status}")


def _sync(image: Path) -> None:
    fd = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _publish(temporary: Path, image: Path) -> None:
    """Give an image its name.

    :raises FileExistsError: another start has created it meanwhile
    """
    try:
        os.link(temporary, image)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(image, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        temporary.rename(image)


def _remove(image: Path) -> None:
    """Remove an image of a failed start, unless another VM has begun to use it."""
    with suppress(FileNotFoundError):
        if not lock.is_used(image):
            image.unlink()


def _failed(image: Path, reason: str) -> MachineError:
    return MachineError(
        f"can't prepare the disk {image}: {reason}",
        f"is there room, and may root write to {image.parent}?",
    )
