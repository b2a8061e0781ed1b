"""The arguments for the devices of a machine. Pure functions, one for each class of devices."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Balloon, Cdrom, Channel, Disk, Machine, SharedFolder, Tpm
from vmnet_qemu import hardware, inherited
from vmnet_qemu.devices import balloon, buses, cdrom, channel, disk, shared_folder, tpm
from vmnet_qemu.slots import Places


def arguments(machine: Machine, places: Places) -> Iterator[str]:
    """Yield the devices in the machine's order, each after the files that vmnet opens for it.

    :raises MachineError: there are more disks than places, or the machine lacks a disk's bus
    """
    found = buses.places(machine.devices, places)
    cdroms, channels, shares = 0, 0, 0
    listeners = inherited.channels(machine)
    pairs = zip(machine.devices, inherited.files(machine), strict=True)
    for number, (device, files) in enumerate(pairs):
        match device:
            case Disk():
                controller, place = found[number]
                yield from controller
                yield from disk.words(device, number, files, place)
            case Cdrom() if number in found:
                controller, place = found[number]
                yield from controller
                yield from cdrom.words(device, number, files, place)
            case Cdrom():
                if not cdroms:
                    yield from cdrom.controller()
                yield from cdrom.words(device, number, files, cdrom.on_scsi(cdroms))
                cdroms += 1
            case Channel():
                if not channels:
                    yield from channel.controller(places.small("channels"))
                yield from channel.words(device, channels, listeners[channels])
                channels += 1
            case SharedFolder():
                place = places.small(f"share{shares}")
                yield from shared_folder.words(device, shares, files, place)
                shares += 1
            case Tpm():
                yield from tpm.words(files, hardware.of(machine.architecture).tpm)
            case Balloon():
                if not balloon.is_among(places.extra):
                    yield from balloon.words(places.small("balloon"))
