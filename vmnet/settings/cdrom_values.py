"""Parse the value of VMNET_CDROM: a path, followed by options, as for disks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vmnet.model.base import frozen
from vmnet.settings import disk_values, values

BUSES = ("scsi", "sata", "ide")


@frozen
class CdromValue:
    """A CD, as VMNET_CDROM describes it.

    :param boot: the place in the boot order, from 1; None if the variable does not name it
    """

    path: Path
    bus: str = "scsi"
    boot: int | None = None

    def __str__(self) -> str:
        return str(self.path)


def cdrom(value: str) -> CdromValue:
    """Parse VMNET_CDROM."""
    path, *options = disk_values.split(value)
    found = disk_values.options(options, _OPTIONS, "a CD")
    return CdromValue(values.absolute_path(path), **found)


_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "bus": values.choice(*BUSES),
    "boot": values.integer(1, 99),
}
