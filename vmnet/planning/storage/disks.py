"""Plan the user's disks: VMNET_DISK and the variables for further disks."""

from __future__ import annotations

import logging

from attrs import evolve

from vmnet.errors import MachineError, SettingsError
from vmnet.model.devices import Disk
from vmnet.planning import files
from vmnet.planning.storage import disk_settings, downloads
from vmnet.planning.storage.disk_settings import NotDownloadedError, option
from vmnet.planning.storage.image import boot_sector, choose, overlay, resize
from vmnet.settings import core
from vmnet.settings.disk_values import DiskValue
from vmnet.settings.table import Settings

_log = logging.getLogger(__name__)
# With several disks, the firmware would else try them in the order of their buses. Disks for which
# the user chooses a place come first.
_BOOT_AFTER = 100


def plan(settings: Settings) -> list[Disk]:
    """Return the user's disks in the order of their variables.

    :raises MachineError: a disk is missing, unreadable or in an unsafe format
    :raises SettingsError: options contradict each other
    """
    values = disk_settings.disks(settings)
    _refuse_repeated(values)
    for variable, value in values.items():
        if value.url and not value.path.exists():
            downloads.require_possible(variable, value, values.values())
    disks = [_disk(variable, value, settings) for variable, value in values.items()]
    if len(disks) > 1:
        disks = [
            disk if disk.boot else evolve(disk, boot=_BOOT_AFTER + number)
            for number, disk in enumerate(disks)
        ]
    return disks


def _refuse_repeated(values: dict[str, DiskValue]) -> None:
    """Refuse a serial number or a place in the boot order that two disks have."""
    for what in ("serial", "boot"):
        seen: dict[object, str] = {}
        for variable, value in values.items():
            given = getattr(value, what)
            if given and given in seen:
                raise SettingsError(
                    f"{seen[given]} and {variable} have the same {what}: {given}",
                    f"change it in {variable}",
                )
            seen[given] = variable


def _disk(variable: str, value: DiskValue, settings: Settings) -> Disk:
    if value.readonly and (value.mode != "persistent" or value.size is not None):
        raise SettingsError(
            f"{variable}={value} is readonly, which excludes a mode and a size",
            f"unset readonly in {variable}, or {option(variable, 'mode')} and "
            f"{option(variable, 'size')}",
        )
    disk = _image(variable, value, settings)
    return evolve(
        disk,
        bus=value.bus,
        serial=value.serial,
        readonly=value.readonly,
        cache=value.cache,
        aio=_aio(variable, value.aio),
        discard=value.discard,
        iothread=value.iothread,
        boot=value.boot,
    )


def _aio(variable: str, wanted: str) -> str:
    """Return how QEMU waits for the disk: by threads if it can't use io_uring."""
    if wanted != "io_uring":
        return wanted
    from vmnet.planning.storage import io_uring

    if obstacle := io_uring.obstacle():
        _log.info(
            "%s: threads instead of io_uring: %s",
            variable,
            obstacle,
            extra={"event": "disk.threads"},
        )
        return "threads"
    return wanted


def _image(variable: str, value: DiskValue, settings: Settings) -> Disk:
    """Return the disk without the options for QEMU."""
    path, size, mode = value.path, value.size, value.mode
    folders = settings[core.DISK_BACKING]
    if size is not None and mode == "ephemeral":
        raise SettingsError(
            f"{option(variable, 'size')} can't enlarge a disk that is only read",
            f"unset it, or set {option(variable, 'mode')}=overlay",
        )
    if size is not None and mode == "persistent" and not (value.url or path.exists()):
        image_format = "raw" if value.format == "raw" else "qcow2"
        return resize.blank(path, image_format, size, variable)
    if value.url and not path.exists():
        raise NotDownloadedError(
            f"{variable}={value} has not been downloaded to {path} yet",
            "`vmnet run` downloads and verifies it; `vmnet plan` and `vmnet check` do not",
        )
    reads_only = mode != "persistent" or value.readonly
    remedy = f"set {option(variable, 'mode')}=overlay or ephemeral, which only read it"
    files.require(variable, path, writable_unless="" if reads_only else remedy)
    choice = choose.disk(
        path,
        value.format,
        ephemeral=reads_only,
        variable=variable,
        folders=folders or (),
    )
    if choice.note:
        level = logging.WARNING if choice.format == "raw" else logging.INFO
        _log.log(level, "%s=%s is %s", variable, path, choice.note, extra={"event": "disk.format"})
    if choice.guessed:
        _log.info(
            "%s=%s is served as a raw disk, because its format is unknown: QEMU prevents "
            "the guest from writing the header of another format, unless %s=raw",
            variable,
            path,
            option(variable, "format"),
            extra={"event": "disk.format"},
        )
    uefi = boot_sector.needs_uefi(path, choice.format)
    if mode == "overlay":
        if choice.backed:
            raise MachineError(
                f"{variable}={path} refers to another file, and can't be below an overlay",
                f"make one image of both: `qemu-img convert -O qcow2 {path.name} whole.qcow2`",
            )
        made = overlay.plan(path, choice.format, settings[core.DISK_STATE], size, variable)
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
    return resize.grown(disk, size, variable)
