"""Machine: what the launcher starts. Pure data; a launch plugin turns it into a command line."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from vmnet.noun import Noun


@frozen(eq=False, repr=False)
class Nic(Noun):
    """A virtio network card on a tap.

    :param fds: the tap's descriptors, one for each queue
    :param mtu: in bytes, told to the guest by virtio's ``host_mtu``
    """

    name: str
    mac: str
    mtu: int
    fds: tuple[int, ...]


@frozen(eq=False, repr=False)
class Disk(Noun):
    """A block device.

    :param format: ``qcow2`` or ``raw``
    :param ephemeral: writes go to a temporary overlay that ends with the VM
    """

    path: Path
    format: str
    ephemeral: bool = False


@frozen(eq=False, repr=False)
class Cdrom(Noun):
    """A read-only ISO 9660 image."""

    path: Path


@frozen(eq=False, repr=False)
class Kernel(Noun):
    """A kernel booted directly."""

    path: Path
    initrd: Path | None = None
    append: str = ""


@frozen(eq=False, repr=False)
class Machine(Noun):
    """A virtual machine.

    :param memory: in bytes
    :param accelerator: ``kvm`` or ``tcg``
    :param run_dir: where control sockets go
    """

    name: str
    memory: int
    cpus: int
    accelerator: str
    run_dir: Path
    nics: tuple[Nic, ...] = ()
    devices: tuple[Disk | Cdrom, ...] = ()
    kernel: Kernel | None = None


@frozen(eq=False, repr=False)
class Command(Noun):
    """A program to become.

    :param keep_fds: descriptors it inherits
    :param qmp: the control socket (QEMU Machine Protocol) on which it takes a power-down; None
        where it has none, and a stop signal ends it at once
    """

    argv: tuple[str, ...]
    keep_fds: tuple[int, ...] = ()
    qmp: Path | None = None
