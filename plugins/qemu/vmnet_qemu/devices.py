"""The arguments for disks and CDs. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Cdrom, Disk, Machine
from vmnet_qemu import inherited
from vmnet_qemu.quoting import escape


def arguments(machine: Machine) -> Iterator[str]:
    for number, (device, files) in enumerate(
        zip(machine.devices, inherited.files(machine), strict=True)
    ):
        for file in files:
            yield from ("-add-fd", f"fd={file.fd},set={number}")
        path = f"/dev/fdset/{number}" if files else escape(str(device.path))
        # QEMU recognises a block device by its name, but not by the name of a descriptor set.
        driver = "file.driver=host_device,file.filename" if device.block else "file"
        yield from _device(number, device, f"{driver}={path}")


def _device(number: int, device: Disk | Cdrom, file: str) -> Iterator[str]:
    if isinstance(device, Cdrom):
        yield from ("-drive", f"if=none,id=cd{number},{file},format=raw,readonly=on")
        yield from ("-device", f"virtio-scsi-pci,id=scsi{number}")
        yield from ("-device", f"scsi-cd,bus=scsi{number}.0,drive=cd{number}")
    else:
        mode = "snapshot=on" if device.ephemeral else "cache=writeback"
        yield from ("-drive", f"if=none,id=disk{number},{file},{_format(device)},{mode}")
        yield from ("-device", f"virtio-blk-pci,drive=disk{number}")


def _format(disk: Disk) -> str:
    """Return the disk's format as an option. If vmnet guessed it, QEMU must guess it, too.

    QEMU then prevents the guest from writing the mark of another format to the first sector. Only
    QEMU's driver ``raw`` has the option ``offset``, so QEMU exits if it guesses another format.
    """
    return "offset=0" if disk.guessed else f"format={disk.format}"
