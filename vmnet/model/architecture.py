"""The architectures of the guest's processor. Pure data; a launch plugin knows their machines."""

from __future__ import annotations

from vmnet.model.base import frozen


@frozen
class Architecture:
    """An architecture of the guest's processor.

    :param name: as in uname(2), and in the names of QEMU's programs
    :param alias: as Debian and the container engines name it
    :param console: Linux's name of the first serial port
    :param has_bios: its machines start without UEFI, too
    :param firmware: Debian's package with UEFI firmware for QEMU
    :param flash: the bytes of flash memory that QEMU fills with UEFI firmware, if they are many
    """

    name: str
    alias: str
    console: str
    has_bios: bool
    firmware: str
    flash: int


X86_64 = Architecture("x86_64", "amd64", "ttyS0", has_bios=True, firmware="ovmf", flash=0)
AARCH64 = Architecture(
    *("aarch64", "arm64", "ttyAMA0"),
    has_bios=False,
    firmware="qemu-efi-aarch64",
    flash=128 << 20,
)
ARCHITECTURES = (X86_64, AARCH64)


def named(name: str) -> Architecture | None:
    """Return the architecture with a name or alias."""
    return next((known for known in ARCHITECTURES if name in (known.name, known.alias)), None)
