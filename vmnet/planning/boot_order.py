"""The order in which the firmware tries the devices, from VMNET_BOOT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve

from vmnet.model.devices import Cdrom, Disk
from vmnet.settings import core
from vmnet.settings.table import Settings

# The places from 1 to 99 are those that the user gives to disks.
_BEFORE_DISKS, _DISKS, _CDROMS, _AFTER_DISKS = 0, 100, 150, 200


def network(settings: Settings) -> int | None:
    """Return the place of the first NIC; None if the machine does not boot from the network."""
    order = settings[core.BOOT]
    if "network" not in order or settings[core.KERNEL]:
        return None
    return _BEFORE_DISKS if order[0] == "network" else _AFTER_DISKS


def disks(settings: Settings, devices: Sequence[Disk | Cdrom]) -> Iterator[Disk | Cdrom]:
    """Yield the user's disks and CDs, each with a place if the order has a NIC.

    A firmware tries devices without a place last (SeaBIOS) or not at all (OVMF).
    """
    for number, device in enumerate(devices):
        first = _DISKS if isinstance(device, Disk) else _CDROMS
        is_listed = device.boot is not None or network(settings) is None
        yield device if is_listed else evolve(device, boot=first + number)
