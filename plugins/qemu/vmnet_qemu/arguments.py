"""A machine as QEMU's argument list. A pure function: the same machine gives the same words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vmnet.errors import MachineError
from vmnet.lifecycle.guard import EXIT_PORT
from vmnet.machine import Cdrom, Disk, Kernel, Listener, Machine, Nic, Opened
from vmnet.noun import Noun, noun

_MIB = 1 << 20
_TRANSLATED_MIB = 128
# A PCI bus has 32 slots of eight functions; other devices take the lower slots, a q35 the last one.
_MOST_SLOTS, _FIRST_SLOT, _FUNCTIONS = 16, 0x17, 8
_MOST_NICS = (0x1F - _FIRST_SLOT) * _FUNCTIONS
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_ACCELERATED = ("-accel", "--accel", "-enable-kvm", "--enable-kvm")
_MACHINE_TYPES = {"x86_64": "q35", "aarch64": "virt"}


@noun
class Options(Noun):
    """What only QEMU understands.

    :param console: a second way to the console, besides standard input and output; QEMU 10
    :param extra: the user's own arguments, behind ours so that theirs win
    """

    machine_type: str | None = None
    cpu: str | None = None
    firmware: Path | None = None
    vnc: str | None = None
    console: bool = False
    extra: tuple[str, ...] = ()


def arguments(machine: Machine, options: Options) -> tuple[str, ...]:
    """QEMU's arguments, without the program; see qemu(1) for each."""
    return (
        *("-name", f"guest={_escape(machine.name)}"),
        *("-nodefaults", "-no-user-config"),
        *("-sandbox", _SANDBOX),
        *("-machine", _machine_type(options)),
        *_accelerator(machine, options),
        *("-cpu", options.cpu or ("host" if machine.accelerator == "kvm" else "max")),
        *("-smp", str(machine.cpus)),
        *("-m", f"{-(-machine.memory // _MIB)}M"),
        *("-device", "virtio-rng-pci"),
        *(("-bios", str(options.firmware)) if options.firmware else ()),
        *(("-vga", "std", "-vnc", options.vnc) if options.vnc else ("-display", "none")),
        *_console(machine, options),
        *_monitor(qmp(machine)),
        *_monitor(guard(machine)),
        *_ending(options),
        *_devices(machine),
        *_nics(machine.nics),
        *(_kernel(machine.kernel) if machine.kernel else ()),
        *options.extra,
    )


def qmp(machine: Machine) -> Listener:
    """Where QEMU takes commands (QEMU Machine Protocol)."""
    return Listener(machine.run_dir / "qmp.sock", _free_fd(machine))


def guard(machine: Machine) -> Listener:
    """The same for the guard, which stays connected: QEMU serves one client a socket."""
    return Listener(machine.run_dir / "guard.sock", _free_fd(machine) + 1)


def console(machine: Machine) -> Listener:
    """The serial console, for one beside those who are attached to the container."""
    return Listener(machine.run_dir / "console.sock", _free_fd(machine) + 2)


def opened(machine: Machine) -> tuple[Opened, ...]:
    """What is opened for QEMU, which then needs no permission for it."""
    return tuple(file for files in _files(machine) for file in files)


def is_named(device: Disk | Cdrom) -> bool:
    """Whether QEMU opens a device by its name, from which it finds what the image refers to."""
    return isinstance(device, Disk) and device.backed


def _free_fd(machine: Machine) -> int:
    """The first number behind those of the taps."""
    return max((fd for nic in machine.nics for fd in nic.fds), default=99) + 1


def _files(machine: Machine) -> Iterator[tuple[Opened, ...]]:
    """For each device its descriptors: QEMU reads a disk before it opens it again for writing."""
    fd = console(machine).fd + 1
    for device in machine.devices:
        files: tuple[Opened, ...] = ()
        if not is_named(device):
            files = (Opened(device.path, fd),)
            if isinstance(device, Disk) and not device.ephemeral:
                files += (Opened(device.path, fd + 1, writable=True),)
        fd += len(files)
        yield files


def _accelerator(machine: Machine, options: Options) -> Iterator[str]:
    """In emulation with a bound: each boot adds 50 MiB of translated code, up to 1 GiB.

    What does not fit is translated anew. QEMU takes the first accelerator that it can use, and ends
    where a machine's option names one as well, so ours is left out where the user names another.
    """
    if not _names_accelerator(options):
        bound = f",tb-size={_TRANSLATED_MIB}" if machine.accelerator == "tcg" else ""
        yield from ("-accel", machine.accelerator + bound)


def _names_accelerator(options: Options) -> bool:
    """Whether the user's own has ``-accel``, ``-enable-kvm``, or a machine with ``accel=``."""
    pairs = zip(("", *options.extra), options.extra, strict=False)
    machines = [value for name, value in pairs if name in ("-machine", "--machine", "-M", "--M")]
    return any(word in _ACCELERATED for word in options.extra) or any(
        setting.startswith("accel=")
        for machine in (options.machine_type or "", *machines)
        for setting in machine.split(",")
    )


def _machine_type(options: Options) -> str:
    return options.machine_type or _MACHINE_TYPES.get(os.uname().machine, "virt")


def _console(machine: Machine, options: Options) -> Iterator[str]:
    """Ctrl-C belongs to the guest's console, not to QEMU: signal=off."""
    if options.console:
        yield from ("-chardev", "stdio,id=container,signal=off")
        yield from ("-chardev", f"socket,id=attached,fd={console(machine).fd},server=on,wait=off")
        yield from ("-chardev", "hub,id=console,chardevs.0=container,chardevs.1=attached")
    else:
        yield from ("-chardev", "stdio,id=console,signal=off")
    yield from ("-serial", "chardev:console")


def _monitor(socket: Listener) -> Iterator[str]:
    name = socket.path.stem
    yield from ("-chardev", f"socket,id={name},fd={socket.fd},server=on,wait=off")
    yield from ("-mon", f"chardev={name},mode=control")


def _ending(options: Options) -> Iterator[str]:
    """A panic ends QEMU with 1, a forced stop with a status of its own: both need a device."""
    kind = _machine_type(options)
    if os.uname().machine == "x86_64" and kind.startswith(("q35", "pc")):
        yield from ("-device", "pvpanic")
        yield from ("-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1")
    elif os.uname().machine == "aarch64" and kind.startswith("virt"):
        yield from ("-device", "pvpanic-pci")
    yield from ("-action", "panic=exit-failure")


def _devices(machine: Machine) -> Iterator[str]:
    for number, (device, files) in enumerate(zip(machine.devices, _files(machine), strict=True)):
        for file in files:
            yield from ("-add-fd", f"fd={file.fd},set={number}")
        path = f"/dev/fdset/{number}" if files else _escape(str(device.path))
        # QEMU tells a device from a file by its name, unless the name is that of a descriptor.
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
    """Its format. One that was guessed is left for QEMU to guess.

    QEMU then keeps the guest from writing the mark of another format into the first sector. Only
    its driver ``raw`` has an ``offset``, so that it ends if it takes the disk for anything else.
    """
    return "offset=0" if disk.guessed else f"format={disk.format}"


def _nics(nics: Sequence[Nic]) -> Iterator[str]:
    """Each in a slot of its own, which QEMU chooses; where there are many, eight to a slot.

    The order of the slots and functions is that of the NICs, and so the guest's.

    :raises MachineError: there are more than slots
    """
    if len(nics) > _MOST_NICS:
        raise MachineError(
            f"{len(nics)} network interfaces, and QEMU's machine has room for {_MOST_NICS}",
            "leave some with the container: VMNET_INTERFACES names those for the guest",
        )
    for number, nic in enumerate(nics):
        slot, function = divmod(number, _FUNCTIONS)
        place = f",multifunction=on,addr={_FIRST_SLOT + slot:#x}.{function}"
        yield from _nic(nic, place if len(nics) > _MOST_SLOTS else "")


def _nic(nic: Nic, place: str) -> Iterator[str]:
    descriptors = f"fd={nic.fds[0]}" if len(nic.fds) == 1 else f"fds={':'.join(map(str, nic.fds))}"
    yield from ("-netdev", f"tap,id={nic.name},{descriptors}")
    yield from (
        "-device",
        f"virtio-net-pci,netdev={nic.name},mac={nic.mac},host_mtu={nic.mtu},romfile={place}",
    )


def _kernel(kernel: Kernel) -> Iterator[str]:
    yield from ("-kernel", str(kernel.path))
    if kernel.initrd:
        yield from ("-initrd", str(kernel.initrd))
    yield from ("-append", kernel.append)


def _escape(value: str) -> str:
    """QEMU's option syntax takes a doubled comma for one."""
    return value.replace(",", ",,")
