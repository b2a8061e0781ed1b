"""Choose the machine's firmware: BIOS or UEFI, and the file of UEFI's variables."""

from __future__ import annotations

import logging
from pathlib import Path

from vmnet import engine
from vmnet.errors import MachineError
from vmnet.model.architecture import Architecture
from vmnet.model.firmware import Firmware, FirmwareVariables
from vmnet.planning import files
from vmnet.planning.booting import boot_order, firmware_files
from vmnet.planning.booting.boot import Boot
from vmnet.planning.hardware import architecture
from vmnet.settings import core
from vmnet.settings.table import Settings

_log = logging.getLogger(__name__)


def choose(settings: Settings, boot: Boot, own: str = "") -> Firmware:
    """Return the firmware of VMNET_FIRMWARE, or that for which the disk has a boot loader.

    :param own: the user's own argument for the hypervisor that sets the firmware, which ``auto``
        leaves to it; empty if there is none
    :raises MachineError: the firmware is not installed, or its variables can't be kept
    """
    wanted, guests = settings[core.FIRMWARE], architecture.choose(settings)
    if isinstance(wanted, Path):
        _require_readable(wanted)
        return Firmware("image", "VMNET_FIRMWARE", wanted)
    if wanted == "auto" and own:
        chosen = _of_argument(own)
        _log.info("the firmware is that of %s", chosen.reason, extra={"event": "firmware.chosen"})
        return chosen
    if wanted == "auto":
        kind, reason = _suitable(boot, guests)
    else:
        kind, reason = wanted, "VMNET_FIRMWARE"
    _require_possible(kind, boot, guests)
    if kind in ("bios", "none"):
        return Firmware(kind, reason)
    found = firmware_files.find(guests.name, secure=kind == "secureboot")
    if found is None:
        raise MachineError(
            f"the VM needs UEFI firmware{_with_secure_boot(kind)} ({reason}), and none is "
            "installed",
            f"{_where_firmware_is(guests)}install the package {guests.firmware}, or set "
            "VMNET_FIRMWARE to a firmware image",
        )
    if wanted == "auto" and boot.kernel is not None:
        return Firmware(kind, reason, found.code)  # it reads no boot entries
    variables = _variables(settings, boot, kind, found.template)
    return Firmware(kind, reason, found.code, variables, found.smm)


def own_argument(described: str) -> str:
    """Return the user's own argument that set a firmware.

    :param described: the firmware in words; the result is empty if no argument set it
    """
    before, after = _of_argument("\0").described.split("\0")
    is_own = described.startswith(before) and described.endswith(after)
    return described.removeprefix(before).removesuffix(after) if is_own else ""


def _of_argument(own: str) -> Firmware:
    return Firmware("own", f"{own} in the arguments for the hypervisor")


def _require_possible(kind: str, boot: Boot, guests: Architecture) -> None:
    given = f"VMNET_FIRMWARE={kind}"
    if kind == "bios" and not guests.has_bios:
        raise MachineError(
            f"{given}: no machine of {guests.name} has a BIOS",
            "unset VMNET_FIRMWARE, or set it to uefi",
        )
    if kind == "none" and (guests.has_bios or boot.kernel is None):
        raise MachineError(
            f"{given}: only a kernel (VMNET_KERNEL) for aarch64 starts without firmware",
            "unset VMNET_FIRMWARE",
        )


def _suitable(boot: Boot, guests: Architecture) -> tuple[str, str]:
    """Return the kind of firmware that can boot the machine, and why.

    Without firmware, an ARM machine has no ACPI, and its power button is a GPIO line, for which
    Debian's cloud kernels have no driver.
    """
    if boot.kernel is not None and guests.has_bios:
        return "bios", "QEMU loads the kernel itself"
    if boot.kernel is not None:
        return "uefi", "the power button needs ACPI"
    if not guests.has_bios:
        return "uefi", f"the only firmware for {guests.name}"
    disk = boot_order.first_disk(boot.devices)
    if disk is None:
        return "bios", "default"
    if disk.uefi:
        return "uefi", f"{disk.path} has a boot loader only for UEFI"
    return "bios", f"{disk.path} does not require UEFI"


def _variables(settings: Settings, boot: Boot, kind: str, template: Path) -> FirmwareVariables:
    """Return the file of the variables: in the state folder, unless no write survives."""
    name = f"{kind}-variables.fd"
    if boot_order.is_ephemeral(boot.devices):
        return FirmwareVariables(settings[core.RUN_DIR] / name, template, kept=False)
    path = settings[core.DISK_STATE] / name
    obstacle = files.obstacle(path)
    if obstacle and not settings.is_given(core.DISK_STATE):
        _log.warning(
            "%s: boot entries that the guest makes are lost when the VM ends",
            obstacle,
            extra={"event": "firmware.volatile", "hint": engine.mount(path.parent)},
        )
        return FirmwareVariables(settings[core.RUN_DIR] / name, template, kept=False)
    files.require_kept(path.parent, path, "the variables of UEFI")
    if path.exists() and path.stat().st_size != template.stat().st_size:
        raise MachineError(
            f"{path} has {path.stat().st_size} bytes, but the firmware's variables need "
            f"{template.stat().st_size}",
            f"another version of the firmware made it; `rm {path}` discards the boot entries",
        )
    return FirmwareVariables(path, template)


def _require_readable(path: Path) -> None:
    if not path.is_file():
        raise MachineError(f"VMNET_FIRMWARE={path}: there is no such file", engine.mount(path))


def _where_firmware_is(guests: Architecture) -> str:
    return "" if architecture.is_foreign(guests) else "the image has it; elsewhere "


def _with_secure_boot(kind: str) -> str:
    return " with secure boot" if kind == "secureboot" else ""
