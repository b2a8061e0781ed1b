"""The arguments for disks and CDs. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Cdrom, Disk, Machine, MachineError, Opened
from vmnet_qemu import inherited, slots
from vmnet_qemu.quoting import escape

_BASES = 100  # the first number of the descriptor sets of images below overlays


def arguments(machine: Machine, machine_type: str) -> Iterator[str]:
    """Yield the files that vmnet opens, the disks, and the CDs with their controller.

    :raises MachineError: there are more disks than places
    """
    disks, cdroms = 0, 0
    pairs = zip(machine.devices, inherited.files(machine), strict=True)
    for number, (device, files) in enumerate(pairs):
        for file in files:
            yield from ("-add-fd", f"fd={file.fd},set={_set(number, device, file)}")
        path = f"/dev/fdset/{number}" if files else escape(str(device.path))
        # QEMU recognises a block device by its name, but not by the name of a descriptor set.
        driver = "file.driver=host_device,file.filename" if device.block else "file"
        if isinstance(device, Cdrom):
            if not cdroms:
                yield from ("-device", f"virtio-scsi-pci,id=scsi,{slots.CDROMS}")
            yield from _cdrom(number, cdroms, f"{driver}={path}")
            cdroms += 1
        else:
            yield from _disk(number, device, f"{driver}={path}", slots.disk(machine_type, disks))
            disks += 1
    if disks > slots.MAX_DISKS:
        raise MachineError(
            f"the VM has {disks} disks, but QEMU's machine has places for {slots.MAX_DISKS}",
            "select fewer plugins that add disks; `vmnet plan` lists the disks",
        )


def _cdrom(number: int, target: int, file: str) -> Iterator[str]:
    yield from ("-drive", f"if=none,id=cd{number},{file},format=raw,readonly=on")
    yield from ("-device", f"scsi-cd,bus=scsi.0,scsi-id={target},drive=cd{number}")


def _disk(number: int, disk: Disk, file: str, place: str) -> Iterator[str]:
    mode = "snapshot=on" if disk.ephemeral else "cache=writeback"
    # In a file, zeros need no room. On a block device, unmapping them could be slower than a write.
    freed = "discard=unmap" if disk.block else "discard=unmap,detect-zeroes=unmap"
    words = (f"if=none,id=disk{number}", file, _format(disk), mode, freed, *_below(number, disk))
    yield from ("-drive", ",".join(words))
    yield from ("-device", f"virtio-blk-pci,drive=disk{number},{place}")


def _below(number: int, disk: Disk) -> Iterator[str]:
    """Yield the image below an overlay, instead of the name in the overlay's header."""
    if disk.base is not None:
        driver = "host_device" if disk.base.block else "file"
        yield f"backing.driver={disk.base.format},backing.file.driver={driver}"
        yield f"backing.file.filename=/dev/fdset/{_BASES + number}"


def _set(number: int, device: Disk | Cdrom, file: Opened) -> int:
    """Return the number of a file's descriptor set."""
    is_base = isinstance(device, Disk) and device.base is not None and file.path == device.base.path
    return _BASES + number if is_base else number


def _format(disk: Disk) -> str:
    """Return the disk's format as an option. If vmnet guessed it, QEMU must guess it, too.

    QEMU then prevents the guest from writing the mark of another format to the first sector. Only
    QEMU's driver ``raw`` has the option ``offset``, so QEMU exits if it guesses another format.
    """
    return "offset=0" if disk.guessed else f"format={disk.format}"
