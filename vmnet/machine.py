"""Machine: what the launcher starts. Pure data; a launch plugin turns it into a command line."""

from __future__ import annotations

from pathlib import Path

from vmnet.noun import Noun, noun


@noun
class Nic(Noun):
    """A virtio network card on a tap.

    :param fds: the tap's descriptors, one for each queue
    :param mtu: in bytes, told to the guest by virtio's ``host_mtu``
    """

    name: str
    mac: str
    mtu: int
    fds: tuple[int, ...]


@noun
class Disk(Noun):
    """A block device.

    :param format: QEMU's name for it: ``qcow2``, ``raw``, ``vmdk`` and others
    :param ephemeral: writes go to a temporary overlay that ends with the VM
    :param block: a block device and not a file
    :param backed: a qcow2 image that names other files, which only the hypervisor can follow
    :param guessed: raw because nothing else was recognised: the hypervisor keeps the guest from
        writing the mark of another format, which the next start would believe
    """

    path: Path
    format: str
    ephemeral: bool = False
    block: bool = False
    backed: bool = False
    guessed: bool = False


@noun
class Cdrom(Noun):
    """A read-only ISO 9660 image.

    :param block: a block device and not a file
    """

    path: Path
    block: bool = False


@noun
class Kernel(Noun):
    """A kernel booted directly."""

    path: Path
    initrd: Path | None = None
    append: str = ""


@noun
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


@noun
class User(Noun):
    """Whom the hypervisor runs as; it holds no capability, whoever it is.

    :param groups: supplementary groups
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@noun
class Opened(Noun):
    """A file that is opened for the hypervisor before it gives up root.

    :param fd: the descriptor's number there
    """

    path: Path
    fd: int
    writable: bool = False


@noun
class Listener(Noun):
    """A Unix socket that is made for the hypervisor: root's own, mode 0600.

    :param fd: the listening descriptor's number there
    """

    path: Path
    fd: int


@noun
class Command(Noun):
    """A program to become.

    :param keep_fds: descriptors it inherits
    :param qmp: the control socket (QEMU Machine Protocol) on which it takes a power-down; None
        where it has none, and a stop signal ends it at once
    :param opened: files it inherits open
    :param listeners: sockets it inherits listening
    :param user: whom it runs as, without a capability; None if it keeps this process's privileges
    :param guard: a second control socket, to which the guard stays connected: QEMU serves one
        client a socket; None has it use ``qmp``
    :param console: a socket of its serial console, for one beside its standard input and output;
        None where it has none
    """

    argv: tuple[str, ...]
    keep_fds: tuple[int, ...] = ()
    qmp: Path | None = None
    opened: tuple[Opened, ...] = ()
    listeners: tuple[Listener, ...] = ()
    user: User | None = None
    guard: Path | None = None
    console: Path | None = None
