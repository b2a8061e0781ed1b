"""The buses of disks and CDs: their controllers, and the places on them. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from vmnet.api import Cdrom, Device, Disk, MachineError
from vmnet_qemu.slots import MAX_DISKS, Places

_PORTS = {"ide": 4, "sata": 6, "scsi": 255}
_CONTROLLERS = {"scsi": "virtio-scsi-pci,id=disks", "sata": "ich9-ahci,id=sata"}


def places(devices: Sequence[Device], at: Places) -> dict[int, tuple[tuple[str, ...], str]]:
    """Return the arguments of a controller, and the driver and place, for disks and CDs.

    CDs on a bus of disks come after all disks, so that a CD moves no disk.

    :return: by the number of the device; without CDs on the SCSI controller of their own
    :raises MachineError: there are more devices than places, or the machine has no such bus
    """
    numbered = list(enumerate(devices))
    drives: list[tuple[int, Disk | Cdrom]] = [
        *((number, it) for number, it in numbered if isinstance(it, Disk)),
        *((number, it) for number, it in numbered if isinstance(it, Cdrom) and it.bus != "scsi"),
    ]
    found: dict[int, str] = {}
    used = {"pci": 0, **dict.fromkeys(_PORTS, 0)}
    for number, drive in drives:
        kind = drive.bus if drive.bus in _PORTS else "pci"
        medium = "cd" if isinstance(drive, Cdrom) else "hd"
        found[number] = _device(drive.bus, used[kind], at, medium)
        used[kind] += 1
    _require_room(used)
    controllers = {drive.bus: _controller(drive.bus, at) for _, drive in drives}
    # In the machine's order, each controller comes before the first device on it.
    ordered = sorted(drives, key=itemgetter(0))
    return {number: (controllers.pop(drive.bus, ()), found[number]) for number, drive in ordered}


def _controller(bus: str, at: Places) -> tuple[str, ...]:
    """Return the controller of a bus, unless the machine has it already."""
    if bus == "ide" and not at.has_ide:
        raise MachineError(
            f"bus=ide: QEMU's machine {at.machine_type.partition(',')[0]} has no IDE",
            f"set {'VMNET_MACHINE=pc, or ' if at.has_sata else ''}bus=sata, which most guests with "
            "IDE know too",
        )
    if bus not in _CONTROLLERS or (bus == "sata" and at.has_sata):
        return ()
    return ("-device", f"{_CONTROLLERS[bus]},{at.small(bus)}")


def _device(bus: str, number: int, at: Places, medium: str) -> str:
    """Return the driver of a disk or CD, and its place.

    :param medium: ``hd`` or ``cd``
    """
    match bus:
        case "scsi":
            return f"scsi-{medium},bus=disks.0,scsi-id={number}"
        case "sata":
            return f"ide-{medium},bus={'ide' if at.has_sata else 'sata'}.{number}"
        case "ide":
            return f"ide-{medium},bus=ide.{number // 2},unit={number % 2}"
        case "nvme":
            return f"nvme,{at.disk(number)}"
        case _:
            return f"virtio-blk-pci,{at.disk(number)}"


def _require_room(counts: dict[str, int]) -> None:
    limits = {"pci": MAX_DISKS, **_PORTS}
    for kind, count in counts.items():
        if count > limits[kind]:
            what = "virtio or nvme disks" if kind == "pci" else f"{kind} disks and CDs"
            raise MachineError(
                f"the VM has {count} {what}, but QEMU's machine has places for {limits[kind]}",
                "set another bus, such as bus=scsi, or select fewer plugins that add disks; "
                "`vmnet plan` lists the disks",
            )
