"""Collect the settings of the user's disks."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from attrs import evolve

from vmnet.errors import MachineError, SettingsError
from vmnet.settings import core
from vmnet.settings.disk_values import DiskValue
from vmnet.settings.table import Settings

_DOWNLOADS = "downloads"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 100


class NotDownloadedError(MachineError):
    """Only a start downloads an image."""


def disks(settings: Settings) -> dict[str, DiskValue]:
    """Return the disks that the settings describe, by their variables.

    A disk from a URL gets the path to which a start downloads it.

    :raises SettingsError: a URL has no checksum, or a checksum no URL
    """
    found = {row.name: settings[row] for row in (core.DISK, *core.FURTHER_DISKS)}
    values = {variable: value for variable, value in found.items() if value is not None}
    if core.DISK.name in values:
        values[core.DISK.name] = evolve(
            values[core.DISK.name],
            format=settings[core.DISK_FORMAT],
            mode=settings[core.DISK_MODE],
            size=settings[core.DISK_SIZE],
            sha256=settings[core.DISK_SHA256] or "",
        )
    folder = settings[core.DISK_STATE] / _DOWNLOADS
    return {variable: _located(variable, value, folder) for variable, value in values.items()}


def option(variable: str, name: str) -> str:
    """Return how hints name an option of a disk: ``VMNET_DISK_MODE``, or ``VMNET_DISK2's mode``."""
    return f"VMNET_DISK_{name.upper()}" if variable == core.DISK.name else f"{variable}'s {name}"


def _located(variable: str, value: DiskValue, folder: Path) -> DiskValue:
    setting = option(variable, "sha256")
    if bool(value.url) == bool(value.sha256):
        name = _UNSAFE.sub("-", PurePosixPath(value.url.partition("?")[0]).name) or "disk"
        path = folder / f"{value.sha256[:16]}-{name[-_LONGEST_NAME:]}"
        return evolve(value, path=path) if value.url else value
    if value.url:
        raise SettingsError(
            f"{variable}={value} needs a checksum",
            f"set {setting} to the SHA-256 of the image, which its publisher lists",
        )
    raise SettingsError(
        f"{setting} is only for a disk from a URL, but {variable}={value} is a file",
        f"unset {setting}",
    )
