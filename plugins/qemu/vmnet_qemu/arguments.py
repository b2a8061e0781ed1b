"""Turn a machine into QEMU's argument list. Pure functions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vmnet.api import (
    EXIT_PORT,
    Cdrom,
    Disk,
    Kernel,
    Listener,
    Machine,
    MachineError,
    Nic,
    Opened,
    frozen,
)

_MIB = 1 << 20
_TRANSLATED_MIB = 128
# A PCI bus has 32 slots of eight functions. Other devices use the lower slots, and q35 the last.
_MAX_SLOTS, _FIRST_SLOT, _FUNCTIONS = 16, 0x17, 8
_MAX_NICS = (0x1F - _FIRST_SLOT) * _FUNCTIONS
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_ACCELERATED = ("-accel", "--accel", "-enable-kvm", "--enable-kvm")
_MACHINE_TYPES = {"x86_64": "q35", "aarch64": "virt"}


@frozen
class Options:
    """Options that only QEMU understands.

    :param console: add a socket to the console, in addition to standard input and output; QEMU 10
    :param extra: the user's own arguments, which come last and so take precedence
    """

    machine_type: str | None = None
    cpu: str | None = None
    firmware: Path | None = None
    vnc: str | None = None
    console: bool = False
    extra: tuple[str, ...] = ()


def arguments(machine: Machine, options: Options) -> tuple[str, ...]:
    """Return QEMU's arguments, without the program; qemu(1) documents them."""
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
        *_exit_devices(options),
        *_devices(machine),
        *_nics(machine.nics),
        *(_kernel(machine.kernel) if machine.kernel else ()),
        *options.extra,
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


def opened(machine: Machine) -> tuple[Opened, ...]:
    """Return the files that vmnet opens for QEMU, which then needs no permission for them."""
    return tuple(file for files in _files(machine) for file in files)


def is_opened_by_name(device: Disk | Cdrom) -> bool:
    """Return whether QEMU opens a device by name, to find the files that the image refers to."""
    return isinstance(device, Disk) and device.backed


def _free_fd(machine: Machine) -> int:
    """Return the first descriptor number after the taps'."""
    return max((fd for nic in machine.nics for fd in nic.fds), default=99) + 1


def _files(machine: Machine) -> Iterator[tuple[Opened, ...]]:
    """Yield each device's files.

    A writable disk needs two: QEMU opens it for reading, and then again for writing.
    """
    fd = console(machine).fd + 1
    for device in machine.devices:
        files: tuple[Opened, ...] = ()
        if not is_opened_by_name(device):
            files = (Opened(device.path, fd),)
            if isinstance(device, Disk) and not device.ephemeral:
                files += (Opened(device.path, fd + 1, writable=True),)
        fd += len(files)
        yield files


def _accelerator(machine: Machine, options: Options) -> Iterator[str]:
    """Yield ``-accel``, unless the user sets an accelerator.

    QEMU uses the first accelerator that works, and exits if ``-machine`` names one as well. In
    emulation, each boot adds 50 MiB of translated code, up to 1 GiB. With the limit set here, QEMU
    translates again what no longer fits.
    """
    if not _user_sets_accelerator(options):
        bound = f",tb-size={_TRANSLATED_MIB}" if machine.accelerator == "tcg" else ""
        yield from ("-accel", machine.accelerator + bound)


def _user_sets_accelerator(options: Options) -> bool:
    """Return whether the user sets ``-accel``, ``-enable-kvm``, or a machine with ``accel=``."""
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
    """Yield the serial console. With signal=off, Ctrl-C reaches the guest and does not end QEMU."""
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


def _exit_devices(options: Options) -> Iterator[str]:
    """Yield the devices for QEMU's exit status: 1 after a panic, another after a forced stop."""
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


def _nics(nics: Sequence[Nic]) -> Iterator[str]:
    """Yield the NICs, each in a slot that QEMU chooses. Many NICs share slots, eight in each.

    The guest orders its NICs by slot and function, which follow the order of ``nics``.

    :raises MachineError: there are more NICs than slots and functions
    """
    if len(nics) > _MAX_NICS:
        raise MachineError(
            f"the container has {len(nics)} network interfaces, but QEMU's machine has slots for "
            f"{_MAX_NICS}",
            "list the interfaces for the guest in VMNET_INTERFACES; the container keeps the rest",
        )
    for number, nic in enumerate(nics):
        slot, function = divmod(number, _FUNCTIONS)
        place = f",multifunction=on,addr={_FIRST_SLOT + slot:#x}.{function}"
        yield from _nic(nic, place if len(nics) > _MAX_SLOTS else "")


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
    """Double the commas, as QEMU's option syntax requires."""
    return value.replace(",", ",,")
