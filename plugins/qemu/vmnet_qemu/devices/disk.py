"""The arguments for disks. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Disk, Opened
from vmnet_qemu.devices import opened
from vmnet_qemu.quoting import escape

_BASES = 100  # the first number of the descriptor sets of images below overlays


def words(disk: Disk, number: int, files: tuple[Opened, ...], device: str) -> Iterator[str]:
    """Yield the arguments of a disk.

    :param number: of the device in the machine
    :param device: the driver of the guest's disk, and its place
    """
    base = tuple(file for file in files if disk.base and file.path == disk.base.path)
    yield from opened.add(tuple(file for file in files if file not in base), number)
    yield from opened.add(base, _BASES + number)
    yield from ("-drive", ",".join(_drive(disk, number, files)))
    if disk.iothread:
        yield from ("-object", f"iothread,id=thread{number}")
    yield from ("-device", ",".join(_device(disk, number, device)))


def _drive(disk: Disk, number: int, files: tuple[Opened, ...]) -> Iterator[str]:
    yield f"if=none,id=disk{number}"
    yield opened.words(disk.path, number, files, block=disk.block)
    yield _format(disk)
    if disk.ephemeral:  # QEMU's temporary file is always cached; cache= is that of the image below
        yield "snapshot=on"
    yield f"cache={disk.cache}"
    if disk.readonly:
        yield "readonly=on"
    if disk.aio != "threads":
        yield f"aio={disk.aio}"
    # In a file, zeros need no room. On a block device, unmapping them could be slower than a write.
    if disk.discard:
        yield "discard=unmap" if disk.block else "discard=unmap,detect-zeroes=unmap"
    if disk.base is not None:  # instead of the name in the overlay's header
        driver = "host_device" if disk.base.block else "file"
        yield f"backing.driver={disk.base.format},backing.file.driver={driver}"
        yield f"backing.file.filename=/dev/fdset/{_BASES + number}"


def _device(disk: Disk, number: int, device: str) -> Iterator[str]:
    driver, _, place = device.partition(",")
    yield f"{driver},drive=disk{number}"
    serial = disk.serial or (f"disk{number}" if disk.bus == "nvme" else "")  # NVMe requires one
    if serial:
        yield f"serial={escape(serial)}"
    if disk.iothread:
        yield f"iothread=thread{number}"
    if disk.boot is not None:
        yield f"bootindex={disk.boot}"
    yield place


def _format(disk: Disk) -> str:
    """Return the disk's format as an option. If vmnet guessed it, QEMU must guess it, too.

    QEMU then prevents the guest from writing the mark of another format to the first sector. Only
    QEMU's driver ``raw`` has the option ``offset``, so QEMU exits if it guesses another format.
    """
    return "offset=0" if disk.guessed else f"format={disk.format}"
