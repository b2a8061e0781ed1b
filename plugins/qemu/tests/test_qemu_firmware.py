"""The conditions of firmware, and QEMU's arguments for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import vmnet_qemu
from attrs import evolve
from vmnet_qemu import binary, firmware, hardware, inherited

from tests.lab.wait import WAIT
from vmnet import testing
from vmnet.api import Disk, Firmware, FirmwareVariables, Kernel, Machine, MachineError, process

DISK = Disk(Path("/disk"), "raw", uefi=True)
UEFI = Firmware(
    "uefi",
    "VMNET_FIRMWARE",
    Path("/OVMF/CODE.fd"),
    FirmwareVariables(Path("/state/variables.fd"), Path("/OVMF/VARS.fd")),
)
SECURE = evolve(UEFI, kind="secureboot", smm=True)


def check(machine: Machine, *extra: str, kind: str = "q35") -> None:
    firmware.check(machine, kind, extra)


def test_a_bios_is_not_for_this_disk(caplog: pytest.LogCaptureFixture) -> None:
    check(testing.machine(devices=(DISK,)))
    assert "/disk has a boot loader only for UEFI" in caplog.text
    assert "VMNET_FIRMWARE" in caplog.records[0].hint  # type: ignore[attr-defined]


def test_no_warning_if_the_vm_can_boot(caplog: pytest.LogCaptureFixture) -> None:
    machine = testing.machine(devices=(DISK,))
    check(evolve(machine, firmware=UEFI))
    check(machine, "-drive", "if=pflash,format=raw,file=/OVMF.fd")
    check(testing.machine(devices=(Disk(Path("/disk"), "raw"), DISK)))
    check(testing.machine(devices=(DISK,), kernel=Kernel(Path("/vmlinuz"))))
    assert not caplog.text


@pytest.mark.parametrize("words", [("-bios", "/b"), ("-drive", "if=pflash,file=/f")])
def test_the_users_arguments_set_firmware_too(words: tuple[str, str]) -> None:
    with pytest.raises(MachineError, match=r"set firmware .* and so does VMNET_FIRMWARE: uefi"):
        check(testing.machine(firmware=UEFI), *words)
    check(testing.machine(firmware=Firmware("own", "-bios"), devices=(DISK,)), *words)


@pytest.mark.parametrize(
    ("environ", "arguments", "expected"),
    [
        ({"VMNET_QEMU_ARGS": "-no-hpet -bios /b"}, (), "-bios"),
        ({}, ("-pflash", "/f"), "-pflash"),
        ({}, ("-drive", "if=pflash,file=/f"), "if=pflash,file=/f"),
        ({"VMNET_MACHINE": "q35,pflash0=code"}, (), "VMNET_MACHINE=q35,pflash0=code"),
        ({}, ("-machine", "firmware=/f"), "-machine=firmware=/f"),
        ({"VMNET_MACHINE": "q35", "VMNET_QEMU_ARGS": "-fw_cfg name=firmware=a"}, (), ""),
    ],
)
def test_what_sets_the_users_own_firmware(
    environ: dict[str, str], arguments: tuple[str, ...], expected: str
) -> None:
    settings = testing.settings(environ, *vmnet_qemu.vmnet_settings())
    assert vmnet_qemu.vmnet_launch_firmware(settings, arguments) == expected


@pytest.mark.parametrize("kind", ["pc", "pc-i440fx-7.2", "q35,smm=off"])
def test_secure_boot_needs_system_management_mode(kind: str) -> None:
    with pytest.raises(MachineError, match="no system management mode"):
        check(testing.machine(firmware=SECURE), kind=kind)
    check(testing.machine(firmware=SECURE), kind="pc-q35-7.2")


def test_a_machine_without_flash_memory_has_no_uefi() -> None:
    with pytest.raises(MachineError, match="can't start UEFI firmware"):
        check(testing.machine(firmware=UEFI), kind="microvm")
    check(testing.machine(firmware=UEFI, architecture="aarch64"), kind="virt")


def test_a_machine_of_another_architecture() -> None:
    with pytest.raises(MachineError, match=r"VMNET_MACHINE=virt-7\.2 is a machine of aarch64") as e:
        hardware.require_architecture("virt-7.2", "x86_64")
    assert "VMNET_ARCH=aarch64" in e.value.hint
    with pytest.raises(MachineError, match=r"q35 is a machine of x86_64, but .* is aarch64"):
        hardware.require_architecture("q35", "aarch64")
    hardware.require_architecture("raspi3b", "aarch64")


@pytest.mark.parametrize("kind", ["microvm", "microvm,pit=on", "isapc"])
def test_a_machine_without_pci_is_refused(kind: str) -> None:
    with pytest.raises(MachineError, match=f"^VMNET_MACHINE={kind} has no PCI bus"):
        hardware.require_pci(kind)
    for other in ("microvm,pcie=on", "q35", "pc", "virt,gic-version=max"):
        hardware.require_pci(other)


@pytest.mark.parametrize("size", [0, 1, (64 << 10) - 1, 100_000])
def test_a_file_that_is_no_firmware_for_a_pc(tmp_path: Path, size: int) -> None:
    image = tmp_path / "firmware"
    image.write_bytes(bytes(size))
    given = Firmware("image", "VMNET_FIRMWARE", image)
    with pytest.raises(MachineError, match=f"^VMNET_FIRMWARE={image} is no .* {size} bytes"):
        check(testing.machine(firmware=given))
    check(testing.machine(firmware=given, architecture="aarch64"), kind="virt")
    assert "could not load PC BIOS" in _refusal(image)


def test_a_file_of_the_size_of_firmware(tmp_path: Path) -> None:
    image = tmp_path / "firmware"
    image.write_bytes(bytes(3 * (64 << 10)))
    check(testing.machine(firmware=Firmware("image", "VMNET_FIRMWARE", image)))
    assert not _refusal(image)


def _refusal(image: Path) -> str:
    """Return the error of the real QEMU with this firmware."""
    commands = b'{"execute": "qmp_capabilities"}{"execute": "quit"}'
    words = ("-nodefaults", "-display", "none", "-S", "-qmp", "stdio", "-bios", str(image))
    program = binary.find(None, "x86_64")
    return process.ask((str(program), *words), stdin=commands, seconds=WAIT).stderr


def test_secure_boot_sets_system_management_mode() -> None:
    assert firmware.machine_type(SECURE, "q35,vmport=off") == "q35,vmport=off,smm=on"
    assert firmware.machine_type(SECURE, "q35,smm=on") == "q35,smm=on"
    assert firmware.machine_type(UEFI, "q35") == "q35"


def test_qemu_inherits_the_file_of_the_variables() -> None:
    machine = testing.machine(devices=(Disk(Path("/disk"), "raw"),), firmware=UEFI)
    *_, reading, writing = inherited.opened(machine)
    assert (reading.path, reading.writable) == (Path("/state/variables.fd"), False)
    assert (writing.path, writing.writable) == (Path("/state/variables.fd"), True)
    numbers = [file.fd for file in inherited.opened(machine)]
    assert len(set(numbers)) == len(numbers)
    words = list(firmware.arguments(machine))
    assert f"fd={writing.fd},set=200" in words
