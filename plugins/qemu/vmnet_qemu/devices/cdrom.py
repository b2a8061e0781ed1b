"""The arguments for CDs, on a SCSI controller of their own. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Cdrom, Opened
from vmnet_qemu import slots
from vmnet_qemu.devices import opened


def controller() -> Iterator[str]:
    yield from ("-device", f"virtio-scsi-pci,id=scsi,{slots.CDROMS}")


def words(cdrom: Cdrom, number: int, files: tuple[Opened, ...], target: int) -> Iterator[str]:
    """Yield the arguments of a CD.

    :param number: of the device in the machine
    :param target: the SCSI target, from 0
    """
    yield from opened.add(files, number)
    file = opened.words(cdrom.path, number, files, block=cdrom.block)
    yield from ("-drive", f"if=none,id=cd{number},{file},format=raw,readonly=on")
    boot = "" if cdrom.boot is None else f",bootindex={cdrom.boot}"
    yield from ("-device", f"scsi-cd,bus=scsi.0,scsi-id={target},drive=cd{number}{boot}")
