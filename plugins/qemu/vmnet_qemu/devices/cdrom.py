"""The arguments for CDs, by default on a SCSI controller of their own. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Cdrom, Opened
from vmnet_qemu import slots
from vmnet_qemu.devices import opened


def controller() -> Iterator[str]:
    yield from ("-device", f"virtio-scsi-pci,id=scsi,{slots.CDROMS}")


def on_scsi(target: int) -> str:
    """Return the driver of a drive on this controller, and its place.

    :param target: the SCSI target, from 0
    """
    return f"scsi-cd,bus=scsi.0,scsi-id={target}"


def words(cdrom: Cdrom, number: int, files: tuple[Opened, ...], device: str) -> Iterator[str]:
    """Yield the arguments of a CD.

    :param number: of the device in the machine
    :param device: the driver of the guest's drive, and its place
    """
    yield from opened.add(files, number)
    file = opened.words(cdrom.path, number, files, block=cdrom.block)
    yield from ("-drive", f"if=none,id=cd{number},{file},format=raw,readonly=on")
    boot = "" if cdrom.boot is None else f",bootindex={cdrom.boot}"
    yield from ("-device", f"{device},drive=cd{number}{boot}")
