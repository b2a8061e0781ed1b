"""The devices of a machine other than its NICs. Pure data.

A launch plugin makes the hypervisor's words for each class.
"""

from __future__ import annotations

from pathlib import Path

from vmnet.model.base import frozen
from vmnet.model.delivery import Daemon, File


@frozen
class Base:
    """The image below an overlay, which the hypervisor only reads.

    :param format: QEMU's name
    :param block: ``path`` is a block device, not a file
    """

    path: Path
    format: str
    block: bool = False


@frozen
class Preparation:
    """A command that a start runs before it changes the network, to create or enlarge an image.

    :param creates: whether it creates the image, which a failed start then removes
    :param record: a file that the start writes before, and removes with the image
    """

    argv: tuple[str, ...]
    creates: bool
    record: File | None = None


@frozen
class Disk:
    """A disk.

    :param format: QEMU's name: ``qcow2``, ``raw``, ``vmdk`` and others
    :param ephemeral: writes go to a temporary overlay that ends with the VM
    :param bus: ``virtio``, ``scsi``, ``sata``, ``ide`` or ``nvme``
    :param serial: the serial number that the guest reads
    :param readonly: the guest can't write to the disk
    :param cache: QEMU's name of the cache mode
    :param aio: how the hypervisor waits for the file: ``threads``, ``native`` or ``io_uring``
    :param discard: what the guest discards is freed in the file
    :param iothread: a thread of the hypervisor serves this disk alone
    :param boot: the place in the boot order; None if the firmware decides
    :param block: ``path`` is a block device, not a file
    :param backed: a qcow2 image that names other files, which only the hypervisor can follow
    :param guessed: raw because no format was recognised; the hypervisor must prevent the guest from
        writing the mark of another format, which the next start would trust
    :param uefi: only UEFI firmware can boot it, as far as its first sector shows
    :param base: the image below, if this is an overlay that vmnet makes
    :param preparation: what creates or enlarges the image at the start
    """

    path: Path
    format: str
    ephemeral: bool = False
    block: bool = False
    backed: bool = False
    guessed: bool = False
    uefi: bool = False
    base: Base | None = None
    preparation: Preparation | None = None
    bus: str = "virtio"
    serial: str = ""
    readonly: bool = False
    cache: str = "writeback"
    aio: str = "threads"
    discard: bool = True
    iothread: bool = False
    boot: int | None = None


@frozen
class Cdrom:
    """A CD: a read-only ISO 9660 or UDF image.

    :param block: ``path`` is a block device, not a file
    :param boot: the place in the boot order; None if the firmware decides
    :param bus: ``scsi``, ``sata`` or ``ide``
    """

    path: Path
    block: bool = False
    boot: int | None = None
    bus: str = "scsi"


AGENT_CHANNEL = "org.qemu.guest_agent.0"
"""The name of the channel on which qemu-guest-agent listens in the guest."""


@frozen
class Channel:
    """A serial channel between the container and a program in the guest (virtio-serial).

    :param name: the channel's name in the guest, such as ``org.qemu.guest_agent.0``
    :param socket: the Unix socket of the channel in the container, below the run directory
    """

    name: str
    socket: Path


@frozen
class Tpm:
    """A Trusted Platform Module 2.0.

    :param socket: the control socket of the daemon that emulates it; vmnet connects to it for the
        hypervisor
    :param daemon: this daemon
    """

    socket: Path
    daemon: Daemon | None = None


@frozen
class SharedFolder:
    """A folder of the container that the guest can mount (virtiofs).

    :param tag: its name in the guest, at most 36 bytes (virtio 1.2 section 5.11.4)
    :param socket: the Unix socket of the daemon, to which vmnet connects the hypervisor
    :param daemon: the daemon, a vhost-user back end such as virtiofsd
    """

    folder: Path
    tag: str
    socket: Path
    daemon: Daemon


@frozen
class Balloon:
    """A memory balloon, by which an idle guest returns free pages to the host."""


def folder_tag(folder: Path) -> str:
    """Return the tag of a shared folder: its path, with ``-`` for ``/``."""
    return str(folder).lstrip("/").replace("/", "-")


Device = Disk | Cdrom | Channel | Tpm | SharedFolder | Balloon


def daemon_of(device: Device) -> Daemon | None:
    """Return the daemon that serves a device, if there is one."""
    return device.daemon if isinstance(device, Tpm | SharedFolder) else None
