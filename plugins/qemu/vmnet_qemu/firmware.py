"""Warn of a disk that the machine's BIOS can't boot."""

from __future__ import annotations

import logging
import os

from vmnet.api import Disk, Machine
from vmnet_qemu import rows
from vmnet_qemu.arguments import Options

_log = logging.getLogger(__name__)
_FIRMWARE_OPTIONS = ("-bios", "--bios", "-pflash", "--pflash", "-kernel", "--kernel")


def check(machine: Machine, options: Options) -> None:
    """Warn if the disk needs UEFI firmware, and the machine has a BIOS.

    A BIOS runs the empty boot sector of such a disk, hangs, and reports nothing.
    """
    if machine.kernel or options.settings[rows.FIRMWARE] or os.uname().machine != "x86_64":
        return
    if any(word in _FIRMWARE_OPTIONS or "pflash" in word for word in options.extra):
        return
    disk = next((device for device in machine.devices if isinstance(device, Disk)), None)
    if disk is not None and disk.uefi:
        _log.warning(
            "VMNET_DISK=%s has a boot loader only for UEFI, but the VM's firmware is a BIOS",
            disk.path,
            extra={"hint": "set VMNET_FIRMWARE to an image such as OVMF.fd of Debian's `ovmf`"},
        )
