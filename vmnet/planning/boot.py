"""Find what the machine boots: the user's disk, CD and kernel, or the demonstration Linux."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from attrs import evolve

from vmnet import engine
from vmnet.errors import MachineError, SettingsError
from vmnet.model.base import frozen
from vmnet.model.devices import Cdrom, Disk
from vmnet.model.machine import Kernel
from vmnet.settings import core
from vmnet.settings.table import Setting, Settings

_log = logging.getLogger(__name__)
_DEMO_APPEND = "console=ttyS0 quiet panic=-1"


@frozen
class Boot:
    """The devices and the kernel that the machine can boot from."""

    devices: tuple[Disk | Cdrom, ...] = ()
    kernel: Kernel | None = None


def boot_devices(settings: Settings) -> Boot:
    """Return the disk, CD and kernel of the settings, or else the demonstration Linux.

    :raises MachineError: a file is missing, unreadable or in an unsafe format
    :raises SettingsError: a setting requires another setting
    """
    devices: list[Disk | Cdrom] = []
    if settings[core.DISK]:
        devices.append(_disk(settings))
    cdrom = _file(settings, core.CDROM)
    if cdrom:
        from vmnet.planning.image import choose

        choose.cdrom(cdrom)
        devices.append(Cdrom(cdrom, cdrom.is_block_device()))
    kernel = _kernel(settings)
    if not devices and kernel is None:
        kernel = _demonstration(settings[core.DEMO])
    return Boot(tuple(devices), kernel)


def _disk(settings: Settings) -> Disk:
    from vmnet.planning.image import boot_sector, choose, overlay, resize

    path, size, mode = settings[core.DISK], settings[core.DISK_SIZE], settings[core.DISK_MODE]
    assert path is not None
    if size is not None and mode == "ephemeral":
        raise SettingsError(
            f"VMNET_DISK_SIZE={settings.given[core.DISK_SIZE.name]} can't enlarge a disk that is "
            "only read",
            "unset it, or set VMNET_DISK_MODE=overlay",
        )
    if size is not None and mode == "persistent" and not path.exists():
        is_raw = settings[core.DISK_FORMAT] == "raw"
        return resize.blank(path, "raw" if is_raw else "qcow2", size)
    reads_only = mode != "persistent"
    _file(settings, core.DISK, writable=not reads_only)
    choice = choose.disk(path, settings[core.DISK_FORMAT], ephemeral=reads_only)
    if choice.note:
        _log.info("VMNET_DISK=%s is %s", path, choice.note)
    if choice.guessed:
        _log.info(
            "VMNET_DISK=%s is served as a raw disk, because its format is unknown: QEMU prevents "
            "the guest from writing the header of another format, unless VMNET_DISK_FORMAT=raw",
            path,
        )
    uefi = boot_sector.needs_uefi(path, choice.format)
    if mode == "overlay":
        if choice.backed:
            raise MachineError(
                f"VMNET_DISK={path} refers to another file, and can't be below an overlay",
                f"make one image of both: `qemu-img convert -O qcow2 {path.name} whole.qcow2`",
            )
        made = overlay.plan(path, choice.format, settings[core.DISK_STATE], size)
        return evolve(made, uefi=uefi)
    disk = Disk(
        path,
        choice.format,
        ephemeral=mode == "ephemeral",
        block=path.is_block_device(),
        backed=choice.backed,
        guessed=choice.guessed,
        uefi=uefi,
    )
    return resize.grown(disk, size)


def _kernel(settings: Settings) -> Kernel | None:
    path = _file(settings, core.KERNEL)
    if path is not None:
        append = settings[core.APPEND] or ""
        return Kernel(path, _file(settings, core.INITRD), append)
    for row in (core.INITRD, core.APPEND):
        if settings.is_given(row):
            raise SettingsError(
                f"{row.name}={settings.given[row.name]} needs a kernel",
                f"set VMNET_KERNEL, or unset {row.name} to boot from the disk",
            )
    return None


def _demonstration(folder: Path) -> Kernel:
    kernel, initrd = folder / "vmlinuz", folder / "initrd"
    if not (kernel.exists() and initrd.exists()):
        raise MachineError(
            f"there is nothing to boot: no VMNET_DISK, VMNET_CDROM or VMNET_KERNEL, "
            f"and no demonstration Linux in {folder}",
            f"{engine.mount(Path('/disk.qcow2'))}, and set "
            f"{engine.assignment('VMNET_DISK', '/disk.qcow2')}",
        )
    return Kernel(kernel, initrd, _DEMO_APPEND)


def _file(settings: Settings, row: Setting[Path | None], *, writable: bool = False) -> Path | None:
    """Return the file that a setting names, after opening it once.

    :raises MachineError: it is missing, can't be opened, or is neither a file nor a block device
    """
    path = settings[row]
    if path is None:
        return None
    try:
        mode = path.stat().st_mode
        is_usable = stat.S_ISREG(mode) or stat.S_ISBLK(mode)
        if is_usable:  # opening a named pipe would block
            os.close(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))
    except FileNotFoundError:
        raise MachineError(
            f"{row.name}={path}: there is no such file in the container",
            engine.mount(path),
        ) from None
    except OSError as error:
        verb = "opened for writing" if writable else "read"
        remedy = "check its owner and mode, and that it is not mounted `:ro`"
        if writable:
            remedy += "; or set VMNET_DISK_MODE=overlay or ephemeral, which only read it"
        raise MachineError(f"{row.name}={path} can't be {verb}: {error.strerror}", remedy) from None
    if not is_usable:
        raise MachineError(
            f"{row.name}={path} is neither a file nor a block device",
            engine.no_file(),
        )
    return path
