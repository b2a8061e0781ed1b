"""The descriptors that QEMU inherits: taps, control sockets and files. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmnet.api import (
    Cdrom,
    Channel,
    Device,
    Disk,
    Listener,
    Machine,
    Opened,
    SharedFolder,
    Tap,
    Tpm,
)

VHOST = Path("/dev/vhost-net")


def taps(machine: Machine) -> tuple[int, ...]:
    """Return the descriptors of the taps, which the bridge strategy has opened."""
    return tuple(
        fd for nic in machine.nics if isinstance(nic.backend, Tap) for fd in nic.backend.fds
    )


def qmp(machine: Machine) -> Listener:
    """Return the socket on which QEMU accepts commands (QEMU Machine Protocol)."""
    return Listener(machine.run_dir / "qmp.sock", _free_fd(machine))


def guard(machine: Machine) -> Listener:
    """Return the guard's command socket.

    QEMU serves one client on each socket, and the guard stays connected.
    """
    return Listener(machine.run_dir / "guard.sock", _free_fd(machine) + 1)


def console(machine: Machine) -> Listener:
    """Return the socket of the serial console, in addition to the container's own streams."""
    return Listener(machine.run_dir / "console.sock", _free_fd(machine) + 2)


def channels(machine: Machine) -> tuple[Listener, ...]:
    """Return the sockets of the channels into the guest, in their order."""
    first = console(machine).fd + 1
    found = (device for device in machine.devices if isinstance(device, Channel))
    return tuple(Listener(channel.socket, fd) for fd, channel in enumerate(found, first))


def opened(machine: Machine) -> tuple[Opened, ...]:
    """Return the files that vmnet opens for QEMU, which then needs no permission for them."""
    of_devices = tuple(file for of_device in files(machine) for file in of_device)
    of_nics = tuple(file for of_nic in vhost(machine) for file in of_nic)
    return (*of_devices, *variables(machine), *of_nics)


def variables(machine: Machine) -> tuple[Opened, ...]:
    """Return the file of UEFI's variables, which QEMU opens for reading, and then for writing."""
    found = machine.firmware.variables
    if found is None:
        return ()
    fd = _first_file(machine) + sum(map(len, files(machine)))
    return Opened(found.path, fd), Opened(found.path, fd + 1, writable=True)


def vhost(machine: Machine) -> Iterator[tuple[Opened, ...]]:
    """Yield for each NIC the devices by which the kernel carries its packets, one for a queue."""
    fd = _first_file(machine) + sum(map(len, files(machine))) + len(variables(machine))
    for nic in machine.nics:
        queues = len(nic.backend.fds) if nic.vhost and isinstance(nic.backend, Tap) else 0
        yield tuple(Opened(VHOST, fd + queue, writable=True) for queue in range(queues))
        fd += queues


def is_opened_by_name(device: Device) -> bool:
    """Return whether QEMU opens a device by name, to find the files that the image refers to."""
    return isinstance(device, Disk) and device.backed


def files(machine: Machine) -> Iterator[tuple[Opened, ...]]:
    """Yield each device's files.

    A writable disk needs two: QEMU opens it for reading, and then again for writing. An overlay
    needs the image below it as well. TPMs and shared folders need a connection to their daemon.
    """
    fd = _first_file(machine)
    for device in machine.devices:
        needed: tuple[Opened, ...] = ()
        if isinstance(device, Disk | Cdrom) and not is_opened_by_name(device):
            needed = (Opened(device.path, fd),)
            if isinstance(device, Disk) and not (device.ephemeral or device.readonly):
                needed += (Opened(device.path, fd + 1, writable=True),)
            if isinstance(device, Disk) and device.base is not None:
                needed += (Opened(device.base.path, fd + 2),)
        elif isinstance(device, SharedFolder | Tpm):
            needed = (Opened(device.socket, fd, writable=True),)
        fd += len(needed)
        yield needed


def _first_file(machine: Machine) -> int:
    return console(machine).fd + len(channels(machine)) + 1


def _free_fd(machine: Machine) -> int:
    """Return the first descriptor number after the taps'."""
    return max(taps(machine), default=99) + 1
