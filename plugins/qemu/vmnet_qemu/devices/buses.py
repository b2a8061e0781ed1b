"""The buses of disks: their controllers, and the places on them. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from vmnet.api import Disk, MachineError
from vmnet_qemu.slots import MAX_DISKS, Places

_PORTS = {"ide": 4, "sata": 6, "scsi": 255}
_CONTROLLERS = {"scsi": "virtio-scsi-pci,id=disks", "sata": "ich9-ahci,id=sata"}


def places(disks: Sequence[Disk], at: Places) -> list[tuple[tuple[str, ...], str]]:
    """Return the arguments of a controller, and the driver and place of the disk, for each disk.

    :raises MachineError: there are more disks than places, or the machine has no such bus
    """
    found = []
    counts = {"pci": 0, **dict.fromkeys(_PORTS, 0)}
    for disk in disks:
        kind = disk.bus if disk.bus in _PORTS else "pci"
        number = counts[kind]
        counts[kind] += 1
        found.append((_controller(disk.bus, number, at), _device(disk.bus, number, at)))
    _require_room(counts)
    return found


def _controller(bus: str, number: int, at: Places) -> tuple[str, ...]:
    """Return the controller before the first disk on it, unless the machine has it already."""
    if bus == "ide" and not at.has_ide:
        raise MachineError(
            f"bus=ide: QEMU's machine {at.machine_type.partition(',')[0]} has no IDE",
            f"set {'VMNET_MACHINE=pc, or ' if at.has_sata else ''}bus=sata, which most guests with "
            "IDE know too",
        )
    if number or bus not in _CONTROLLERS or (bus == "sata" and at.has_sata):
        return ()
    return ("-device", f"{_CONTROLLERS[bus]},{at.small(bus)}")


def _device(bus: str, number: int, at: Places) -> str:
    match bus:
        case "scsi":
            return f"scsi-hd,bus=disks.0,scsi-id={number}"
        case "sata":
            return f"ide-hd,bus={'ide' if at.has_sata else 'sata'}.{number}"
        case "ide":
            return f"ide-hd,bus=ide.{number // 2},unit={number % 2}"
        case "nvme":
            return f"nvme,{at.disk(number)}"
        case _:
            return f"virtio-blk-pci,{at.disk(number)}"


def _require_room(counts: dict[str, int]) -> None:
    limits = {"pci": MAX_DISKS, **_PORTS}
    for kind, count in counts.items():
        if count > limits[kind]:
            what = "virtio or nvme disks" if kind == "pci" else f"{kind} disks"
            raise MachineError(
                f"the VM has {count} {what}, but QEMU's machine has places for {limits[kind]}",
                "set another bus, such as bus=scsi, or select fewer plugins that add disks; "
                "`vmnet plan` lists the disks",
            )
