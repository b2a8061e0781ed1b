"""QEMU's arguments for firmware, and its conditions. Only the checks have effects."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vmnet.api import Disk, Firmware, Machine, MachineError
from vmnet_qemu import inherited
from vmnet_qemu.quoting import escape

_log = logging.getLogger(__name__)
_VARIABLES = 200  # the number of the descriptor set with the file of UEFI's variables
_OPTIONS = ("-bios", "--bios", "-pflash", "--pflash")
_MACHINES = ("VMNET_MACHINE", "-machine", "--machine", "-M", "--M")
_PROPERTY = re.compile(r"(^|,)(pflash0|firmware)=")
# Types of machines whose flash memory is where UEFI firmware expects it.
_WITH_FLASH = ("q35", "pc", "virt")
_BLOCK = 64 << 10  # QEMU maps a PC's firmware in such blocks, and refuses a part of one


def users_own(extra: Sequence[str], kind: str) -> str:
    """Return the first of the user's own arguments that sets firmware; empty if there is none.

    :param kind: the type of the machine that the user sets, with its properties
    """
    pairs = zip(("", *extra), extra, strict=False)
    for option, word in (("VMNET_MACHINE", kind), *pairs):
        is_machine = option in _MACHINES
        if word in _OPTIONS or "if=pflash" in word or (is_machine and _PROPERTY.search(word)):
            return f"{option}={word}" if is_machine else word
    return ""


def machine_type(firmware: Firmware, kind: str) -> str:
    """Return the value of ``-machine``, with system management mode if the firmware needs it."""
    return f"{kind},smm=on" if firmware.smm and "smm=on" not in kind else kind


def arguments(machine: Machine) -> Iterator[str]:
    """Yield the firmware's image, or its flash memory: the program, then the variables."""
    firmware = machine.firmware
    if firmware.code is None:
        return
    if firmware.variables is None:
        yield from ("-bios", str(firmware.code))
        return
    if firmware.smm:
        # Only the firmware may write the variables; it does not while it suspends to memory.
        yield from ("-global", "driver=cfi.pflash01,property=secure,value=on")
        yield from ("-global", "ICH9-LPC.disable_s3=1")
    for file in inherited.variables(machine):
        yield from ("-add-fd", f"fd={file.fd},set={_VARIABLES}")
    code = escape(str(firmware.code))
    yield from ("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}")
    yield from ("-drive", f"if=pflash,unit=1,format=raw,file=/dev/fdset/{_VARIABLES}")


def check(machine: Machine, kind: str, extra: Sequence[str]) -> None:
    """Check that the machine can have the firmware, and warn of a disk that it can't boot.

    A BIOS runs the empty boot sector of a disk for UEFI, hangs, and reports nothing.

    :param kind: the type of the machine, with its properties
    :param extra: the user's own arguments
    :raises MachineError: it can't
    """
    firmware = machine.firmware
    own = users_own(extra, kind)
    if own and firmware.code is not None:
        raise MachineError(
            f"the arguments for QEMU set firmware ({own}), and so does VMNET_FIRMWARE: "
            f"{firmware.kind} ({firmware.reason})",
            "remove these arguments, or unset VMNET_FIRMWARE to use their firmware",
        )
    if firmware.kind == "image" and firmware.code and machine.architecture == "x86_64":
        _require_whole_blocks(firmware.code)
    name, *properties = kind.split(",")
    if firmware.smm and ("smm=off" in properties or not name.startswith(("q35", "pc-q35"))):
        raise MachineError(
            f"VMNET_MACHINE={kind} has no system management mode, which secure boot needs",
            "unset VMNET_MACHINE, or set VMNET_FIRMWARE=uefi",
        )
    if firmware.variables is not None and not name.startswith(_WITH_FLASH):
        raise MachineError(
            f"VMNET_MACHINE={kind} can't start UEFI firmware",
            "unset VMNET_MACHINE, or set VMNET_FIRMWARE to an image for this machine",
        )
    disk = next((device for device in machine.devices if isinstance(device, Disk)), None)
    if firmware.kind == "bios" and not own and not machine.kernel and disk and disk.uefi:
        _log.warning(
            "%s has a boot loader only for UEFI, but the VM's firmware is a BIOS",
            disk.path,
            extra={"event": "firmware.mismatch", "hint": "unset VMNET_FIRMWARE"},
        )


def _require_whole_blocks(image: Path) -> None:
    size = image.stat().st_size
    if size == 0 or size % _BLOCK:
        raise MachineError(
            f"VMNET_FIRMWARE={image} is no firmware for x86_64: it has {size} bytes, not a "
            f"multiple of {_BLOCK}",
            "set VMNET_FIRMWARE to an image for QEMU's -bios, such as OVMF.fd, or unset it",
        )
