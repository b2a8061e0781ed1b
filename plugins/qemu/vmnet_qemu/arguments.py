"""A machine as QEMU's argument list. A pure function: the same machine gives the same words."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from vmnet.machine import Cdrom, Disk, Kernel, Machine, Nic
from vmnet.noun import Noun

_MIB = 1 << 20
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_MACHINE_TYPES = {"x86_64": "q35", "aarch64": "virt"}


@frozen(eq=False, repr=False)
class Options(Noun):
    """What only QEMU understands.

    :param extra: the user's own arguments, behind ours so that theirs win
    """

    machine_type: str | None = None
    cpu: str | None = None
    firmware: Path | None = None
    vnc: str | None = None
    extra: tuple[str, ...] = ()


def arguments(machine: Machine, options: Options) -> tuple[str, ...]:
    """QEMU's arguments, without the program; see qemu(1) for each."""
    return (
        *("-name", f"guest={_escape(machine.name)}"),
        *("-nodefaults", "-no-user-config"),
        *("-sandbox", _SANDBOX),
        *("-machine", _machine_type(options)),
        *("-accel", machine.accelerator),
        *("-cpu", options.cpu or ("host" if machine.accelerator == "kvm" else "max")),
        *("-smp", str(machine.cpus)),
        *("-m", f"{-(-machine.memory // _MIB)}M"),
        *("-device", "virtio-rng-pci"),
        *(("-bios", str(options.firmware)) if options.firmware else ()),
        *(("-vga", "std", "-vnc", options.vnc) if options.vnc else ("-display", "none")),
        # Ctrl-C belongs to the guest's console, not to QEMU: signal=off.
        *("-chardev", "stdio,id=console,signal=off"),
        *("-serial", "chardev:console"),
        *("-qmp", f"unix:{_escape(str(qmp_socket(machine)))},server=on,wait=off"),
        *(word for number, one in enumerate(machine.devices) for word in _device(number, one)),
        *(word for nic in machine.nics for word in _nic(nic)),
        *(_kernel(machine.kernel) if machine.kernel else ()),
        *options.extra,
    )


def qmp_socket(machine: Machine) -> Path:
    """Where QEMU takes commands (QEMU Machine Protocol)."""
    return machine.run_dir / "qmp.sock"


def _machine_type(options: Options) -> str:
    return options.machine_type or _MACHINE_TYPES.get(platform.machine(), "virt")


def _device(number: int, device: Disk | Cdrom) -> Iterator[str]:
    if isinstance(device, Cdrom):
        yield from ("-drive", _drive(f"cd{number}", device.path, "raw", "readonly=on"))
        yield from ("-device", f"virtio-scsi-pci,id=scsi{number}")
        yield from ("-device", f"scsi-cd,bus=scsi{number}.0,drive=cd{number}")
    else:
        snapshot = "snapshot=on" if device.ephemeral else "cache=writeback"
        yield from ("-drive", _drive(f"disk{number}", device.path, device.format, snapshot))
        yield from ("-device", f"virtio-blk-pci,drive=disk{number}")


def _drive(name: str, path: Path, image_format: str, option: str) -> str:
    return f"if=none,id={name},file={_escape(str(path))},format={image_format},{option}"


def _nic(nic: Nic) -> Iterator[str]:
    descriptors = f"fd={nic.fds[0]}" if len(nic.fds) == 1 else f"fds={':'.join(map(str, nic.fds))}"
    yield from ("-netdev", f"tap,id={nic.name},{descriptors}")
    yield from (
        "-device",
        f"virtio-net-pci,netdev={nic.name},mac={nic.mac},host_mtu={nic.mtu},romfile=",
    )


def _kernel(kernel: Kernel) -> Iterator[str]:
    yield from ("-kernel", str(kernel.path))
    if kernel.initrd:
        yield from ("-initrd", str(kernel.initrd))
    yield from ("-append", kernel.append)


def _escape(value: str) -> str:
    """QEMU's option syntax takes a doubled comma for one."""
    return value.replace(",", ",,")
