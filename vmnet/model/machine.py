"""The machine, and the command that starts it.

Pure data: a launch plugin turns the machine into the command.
"""

from __future__ import annotations

from pathlib import Path

from vmnet.model.base import frozen
from vmnet.model.devices import Device
from vmnet.model.firmware import Firmware
from vmnet.model.wiring import Stream, Tap


@frozen
class Nic:
    """A network card.

    :param mtu: in bytes; virtio's ``host_mtu`` announces it to the guest
    :param model: ``virtio``, ``e1000``, ``e1000e``, ``rtl8139`` or ``vmxnet3``
    :param vhost: the kernel carries the packets (vhost-net)
    :param boot: the place in the boot order; None if the machine never boots from this NIC
    """

    name: str
    mac: str
    mtu: int
    backend: Tap | Stream
    model: str = "virtio"
    boot: int | None = None
    vhost: bool = False


@frozen
class NicChange:
    """A change of a NIC of the running VM.

    :param action: ``plug`` adds the NIC, ``unplug`` removes it; ``down`` takes the carrier from it
        and ``up`` returns it
    :param slot: the number of the spare slot, from 0; None for a NIC of the start
    """

    action: str
    nic: Nic
    slot: int | None = None


@frozen
class Kernel:
    """A kernel that the hypervisor boots directly.

    :param append: the kernel's command line
    """

    path: Path
    initrd: Path | None = None
    append: str = ""


@frozen
class Machine:
    """A virtual machine.

    :param memory: in bytes
    :param accelerator: ``kvm`` or ``tcg``
    :param run_dir: the folder for control sockets
    :param architecture: of its processor, ``x86_64`` or ``aarch64``
    :param spare_nics: slots for NICs that are added while the VM runs
    :param huge_page: the size in bytes of the huge pages of the memory; 0 for ordinary pages
    """

    name: str
    memory: int
    cpus: int
    accelerator: str
    run_dir: Path
    nics: tuple[Nic, ...] = ()
    devices: tuple[Device, ...] = ()
    kernel: Kernel | None = None
    spare_nics: int = 0
    huge_page: int = 0
    firmware: Firmware = Firmware()
    architecture: str = "x86_64"


@frozen
class User:
    """The user that the hypervisor runs as, without capabilities.

    :param groups: supplementary groups
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@frozen
class Opened:
    """A file that vmnet opens for the hypervisor before it gives up root.

    To a Unix socket, vmnet connects.

    :param fd: the descriptor's number in the hypervisor
    """

    path: Path
    fd: int
    writable: bool = False


@frozen
class Listener:
    """A Unix socket that vmnet creates for the hypervisor, owned by root, with mode 0600.

    :param fd: the listening descriptor's number in the hypervisor
    """

    path: Path
    fd: int


@frozen
class Command:
    """The hypervisor's command, which vmnet executes in place of itself.

    :param keep_fds: descriptors that the hypervisor inherits
    :param qmp: the control socket (QEMU Machine Protocol) that accepts a power-down; None if there
        is none, and a stop signal ends the hypervisor at once
    :param opened: files that the hypervisor inherits open
    :param listeners: sockets that the hypervisor inherits listening
    :param user: the user that the hypervisor runs as, without capabilities; None keeps the
        privileges of this process
    :param guard: a second control socket, to which the guard stays connected, because QEMU serves
        one client on each socket; None makes the guard use ``qmp``
    :param console: a socket for the serial console, in addition to standard input and output; None
        if there is none
    :param agent: a socket for the channel to qemu-guest-agent in the guest; None if there is none
    """

    argv: tuple[str, ...]
    keep_fds: tuple[int, ...] = ()
    qmp: Path | None = None
    opened: tuple[Opened, ...] = ()
    listeners: tuple[Listener, ...] = ()
    user: User | None = None
    guard: Path | None = None
    console: Path | None = None
    agent: Path | None = None
