"""The files of the container that a VM uses, and that its guest must reach in no other way.

A disk to which the guest writes may be no other file of the VM, and a shared folder may contain
none of them: the guest could read a password, or replace what the next start trusts.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vmnet.errors import SettingsError
from vmnet.model.base import frozen
from vmnet.model.devices import Cdrom, Device, Disk
from vmnet.model.firmware import Firmware
from vmnet.model.machine import Kernel
from vmnet.planning.storage import block_devices, disk_settings
from vmnet.settings import core
from vmnet.settings.table import Settings

_PATH = re.compile(r"(?:^|=)(/[^,]*)")
_APART = frozenset(row.name for row in (core.SHARE, core.CDROM, core.DISK, *core.FURTHER_DISKS))


@frozen
class OwnFile:
    """A file or folder of the container.

    :param user: the variable that names it, or what uses it; empty for the container itself
    :param writes: the guest writes to it
    """

    user: str
    path: Path
    writes: bool = False

    def __str__(self) -> str:
        return f"{self.user}={self.path}" if self.user else str(self.path)


def of(
    settings: Settings, devices: Iterable[Device], kernel: Kernel | None, firmware: Firmware
) -> tuple[OwnFile, ...]:
    """Return the files that settings name, and those of the machine.

    :param devices: first the user's disks, in the order of their variables
    """
    return (
        *_of_devices(settings, devices),
        *_of_settings(settings),
        *_of_kernel(settings, kernel),
        *_of_firmware(firmware),
    )


def mentioned(settings: Settings) -> Iterator[OwnFile]:
    """Yield the paths within arguments for a program, such as `secret,file=/run/secrets/a`."""
    for row in settings:
        words = settings[row] if settings.is_given(row) else ()
        for word in words if isinstance(words, tuple) else ():
            if isinstance(word, str):
                yield from (OwnFile(row.name, Path(path)) for path in _PATH.findall(word))


def require_apart(files: Iterable[OwnFile]) -> None:
    """Check that the guest writes to no file which is used twice.

    Hard links, symbolic links and bind mounts give a file several paths.

    :raises SettingsError: two users of the VM's files have the same file
    """
    first: dict[object, OwnFile] = {}
    for file in files:
        for key in _keys(file.path):
            other = first.setdefault(key, file)
            if other.user != file.user and (other.writes or file.writes):
                raise SettingsError(
                    f"{other} and {file} are the same file or device, to which the guest would "
                    "write",
                    f"name another file in {file.user}; only disks with readonly=on, or with the "
                    "mode ephemeral or overlay, may share an image",
                )
            if file.writes:
                first[key] = file


def _keys(path: Path) -> Iterator[object]:
    """Yield what identifies a file: its path without links, and its inode or its device.

    A disk has the numbers of its partitions, too, and a loop device the inode of its file.
    """
    yield os.path.realpath(path)
    try:
        status = path.stat()
    except OSError:
        return  # a start makes it
    if stat.S_ISBLK(status.st_mode):
        yield "block", status.st_rdev
        for number in block_devices.partitions(status.st_rdev):
            yield "block", number
        if file := block_devices.backing_file(path, status.st_rdev):
            yield file
    elif stat.S_ISREG(status.st_mode):
        yield status.st_dev, status.st_ino


def _of_devices(settings: Settings, devices: Iterable[Device]) -> Iterator[OwnFile]:
    variables = iter(disk_settings.disks(settings))
    for device in devices:
        if isinstance(device, Cdrom):
            cdrom = settings[core.CDROM]
            is_own = cdrom is not None and device.path == cdrom.path
            yield OwnFile(core.CDROM.name if is_own else "a plugin's CD", device.path)
        if isinstance(device, Disk):
            yield from _of_disk(device, next(variables, "a plugin's disk"))


def _of_disk(disk: Disk, user: str) -> Iterator[OwnFile]:
    writes = not (disk.ephemeral or disk.readonly)
    yield OwnFile(user, disk.path, writes)
    if disk.base is not None:
        yield OwnFile(user, disk.base.path)
    if disk.backed:
        from vmnet.planning.storage.image import chain

        for path, is_written in chain.files(disk.path, writable=writes):
            yield OwnFile(user, path, is_written)


def _of_settings(settings: Settings) -> Iterator[OwnFile]:
    """Yield the files that variables name, also those of plugins and of passwords."""
    for row in settings:
        if row.name in settings.files:
            yield OwnFile(f"{row.name}_FILE", settings.files[row.name])
        elif settings.is_given(row) and row.name not in _APART:
            yield from (OwnFile(row.name, path) for path in _paths(settings[row]))


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _paths(part)


def _of_kernel(settings: Settings, kernel: Kernel | None) -> Iterator[OwnFile]:
    if kernel is not None and not settings[core.KERNEL]:  # the demonstration Linux
        for path in filter(None, (kernel.path, kernel.initrd)):
            yield OwnFile(core.DEMO.name, path)


def _of_firmware(firmware: Firmware) -> Iterator[OwnFile]:
    user = "the firmware"
    if firmware.code is not None and firmware.kind != "image":
        yield OwnFile(user, firmware.code)
    if firmware.variables is not None:
        yield OwnFile(user, firmware.variables.path)
        yield OwnFile(user, firmware.variables.template)
