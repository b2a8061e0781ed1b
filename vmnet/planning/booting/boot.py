"""Find what the machine boots: the user's disk, CD and kernel, or the demonstration Linux."""

from __future__ import annotations

import logging
from pathlib import Path

from vmnet import engine
from vmnet.errors import MachineError, SettingsError
from vmnet.model.architecture import Architecture
from vmnet.model.base import frozen
from vmnet.model.devices import Cdrom, Disk
from vmnet.model.machine import Kernel
from vmnet.planning import files, kernel_image
from vmnet.planning.hardware import architecture
from vmnet.planning.storage import disk_settings
from vmnet.settings import core
from vmnet.settings.cdrom_values import CdromValue
from vmnet.settings.table import Settings

_log = logging.getLogger(__name__)
_DEMO_APPEND = "console={console} quiet panic=-1"
# On a busy host, an emulated timer ticks too late for the check of the kernel, which may panic.
_DEMO_APPEND_X86 = " no_timer_check"


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
    if any(settings[row] for row in (core.DISK, *core.FURTHER_DISKS)):
        from vmnet.planning.storage import disks

        devices += disks.plan(settings)
    if cdrom := settings[core.CDROM]:
        devices.append(_cdrom(settings, cdrom))
    kernel = _kernel(settings)
    if not devices and kernel is None and "network" not in settings[core.BOOT]:
        kernel = _demonstration(settings)
    return Boot(tuple(devices), kernel)


def disk_variables(settings: Settings) -> dict[Path, str]:
    """Return the variables of the user's disks."""
    return {value.path: name for name, value in disk_settings.disks(settings).items()}


def _cdrom(settings: Settings, value: CdromValue) -> Cdrom:
    from vmnet.planning.storage.image import choose

    files.require(core.CDROM.name, value.path)
    choose.cdrom(value.path)
    for name, disk in disk_settings.disks(settings).items():
        if value.boot is not None and value.boot == disk.boot:
            raise SettingsError(
                f"{name} and VMNET_CDROM have the same boot: {value.boot}",
                "change it in VMNET_CDROM",
            )
    return Cdrom(value.path, value.path.is_block_device(), value.boot, value.bus)


def _kernel(settings: Settings) -> Kernel | None:
    path = files.opened(settings, core.KERNEL)
    if path is not None:
        _require_architecture(path, architecture.choose(settings))
        append = settings[core.APPEND] or ""
        return Kernel(path, files.opened(settings, core.INITRD), append)
    for row in (core.INITRD, core.APPEND):
        if settings.is_given(row):
            raise SettingsError(
                f"{row.name}={settings.given[row.name]} needs a kernel",
                f"set VMNET_KERNEL, or unset {row.name} to boot from the disk",
            )
    return None


def _require_architecture(kernel: Path, chosen: Architecture) -> None:
    found = kernel_image.architecture(kernel)
    if found not in (None, chosen.name):
        raise MachineError(
            f"VMNET_KERNEL={kernel} is a kernel for {found}, but the guest's processor is "
            f"{chosen.name}",
            f"set VMNET_ARCH={found}, or mount another kernel",
        )


def _demonstration(settings: Settings) -> Kernel:
    """Return the demonstration Linux, which has a subfolder for each foreign architecture."""
    chosen = architecture.choose(settings)
    folder = settings[core.DEMO]
    if architecture.is_foreign(chosen):
        folder /= chosen.name
    kernel, initrd = folder / "vmlinuz", folder / "initrd"
    if not (kernel.exists() and initrd.exists()):
        raise MachineError(
            f"there is nothing to boot: no VMNET_DISK, VMNET_CDROM or VMNET_KERNEL, "
            f"and no demonstration Linux in {folder}",
            f"{engine.mount(Path('/disk.qcow2'))}, and set "
            f"{engine.assignment('VMNET_DISK', '/disk.qcow2')}{_or_build_it(chosen)}",
        )
    append = _DEMO_APPEND.format(console=chosen.console)
    if chosen.name == "x86_64":
        append += _DEMO_APPEND_X86
    return Kernel(kernel, initrd, append)


def _or_build_it(chosen: Architecture) -> str:
    if not architecture.is_foreign(chosen):
        return ""
    return "; an image built with `--build-arg FOREIGN=on` has the demonstration Linux"
