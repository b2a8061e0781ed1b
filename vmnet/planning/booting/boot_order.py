"""The order in which the firmware tries the devices, from VMNET_BOOT."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve

from vmnet.model.devices import Cdrom, Device, Disk
from vmnet.model.firmware import Firmware
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


def disks(
    settings: Settings, devices: Sequence[Disk | Cdrom], firmware: Firmware
) -> Iterator[Disk | Cdrom]:
    """Yield the user's disks and CDs, each with a place if the order has a NIC or with UEFI.

    A firmware tries devices without a place last (SeaBIOS) or not at all (OVMF). If no device has
    a place, UEFI tries the network as well: minutes, and anybody there could answer.
    """
    is_ordered = network(settings) is not None or firmware.code is not None
    for number, device in enumerate(devices):
        first = _DISKS if isinstance(device, Disk) else _CDROMS
        needs_place = is_ordered and device.boot is None
        yield evolve(device, boot=first + number) if needs_place else device


def first_disk(devices: Iterable[Device]) -> Disk | None:
    """Return the disk that boots first: disks without a place in the boot order come last."""
    disks = (device for device in devices if isinstance(device, Disk))
    return min(disks, key=lambda disk: math.inf if disk.boot is None else disk.boot, default=None)


def is_ephemeral(devices: Iterable[Device]) -> bool:
    """Return whether the disk that boots first is new at each start, and with it all state."""
    disk = first_disk(devices)
    return disk is not None and disk.ephemeral
