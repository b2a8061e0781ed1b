"""The firmware is chosen by VMNET_FIRMWARE and the disk, and found by its descriptors."""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmnet import testing
from vmnet.errors import MachineError
from vmnet.lifecycle import firmware as making
from vmnet.model.devices import Cdrom, Disk
from vmnet.model.firmware import Firmware, FirmwareVariables
from vmnet.model.machine import Kernel
from vmnet.planning.booting import firmware, firmware_files
from vmnet.planning.booting.boot import Boot

_F_OFD_SETLK = 37  # fcntl(2)
FOR_UEFI = Boot((Disk(Path("/disk"), "raw", uefi=True),))
FOR_BIOS = Boot((Disk(Path("/disk"), "raw"),))
KERNEL = Boot((), Kernel(Path("/vmlinuz")))


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with firmware for x86_64, and its descriptors."""
    folder = tmp_path / "firmware"
    folder.mkdir()
    monkeypatch.setattr(firmware_files, "_FOLDERS", (tmp_path / "none", folder))
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="x86_64"))
    smm = ("secure-boot", "requires-smm")
    describe(folder, "40-secure", features=(*smm, "enrolled-keys"))
    describe(folder, "50-empty", features=smm)
    describe(folder, "60-plain", features=("acpi-s3",))
    return folder


def describe(
    folder: Path,
    name: str,
    mapping: Mapping[str, Any] | None = None,
    features: tuple[str, ...] = (),
    architecture: str = "x86_64",
) -> None:
    """Install firmware with a descriptor.

    :param mapping: changes of the files' description
    """
    files = {part: folder / f"{name}-{part}.fd" for part in ("code", "variables")}
    for part, file in files.items():
        file.write_text(f"{part} of {name}")
    flash = {
        "device": "flash",
        "executable": {"filename": str(files["code"]), "format": "raw"},
        "nvram-template": {"filename": str(files["variables"]), "format": "raw"},
    }
    descriptor = {
        "interface-types": ["uefi"],
        "mapping": flash | dict(mapping or {}),
        "targets": [{"architecture": architecture, "machines": ["*"]}],
        "features": list(features),
    }
    (folder / f"{name}.json").write_text(json.dumps(descriptor))


def choose(boot: Boot, **environ: str) -> Firmware:
    return firmware.choose(testing.settings(environ), boot)


@pytest.mark.parametrize(
    ("boot", "kind"),
    [
        (FOR_UEFI, "uefi"),
        (FOR_BIOS, "bios"),
        (Boot((Cdrom(Path("/cd")),)), "bios"),
        (Boot((Cdrom(Path("/cd")), *FOR_UEFI.devices)), "uefi"),
        (Boot((*FOR_BIOS.devices, *FOR_UEFI.devices)), "bios"),
        (Boot((*FOR_BIOS.devices, Disk(Path("/b"), "raw", uefi=True, boot=1))), "uefi"),
        (Boot(FOR_UEFI.devices, KERNEL.kernel), "bios"),
    ],
)
def test_the_first_disk_decides(boot: Boot, kind: str, tmp_path: Path) -> None:
    assert choose(boot, VMNET_DISK_STATE=str(tmp_path)).kind == kind


def test_auto_gives_way_to_the_users_own_firmware(
    installed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where vmnet's own would be missing or unusable."""
    caplog.set_level("INFO")
    settings = testing.settings({"VMNET_DISK_STATE": "/proc/none"})
    for descriptor in installed.glob("*.json"):
        descriptor.write_text("")
    for architecture in ("x86_64", "aarch64"):
        monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine=architecture))  # noqa: B023
        chosen = firmware.choose(settings, FOR_UEFI, "-bios")
        assert (chosen.kind, chosen.code, chosen.variables) == ("own", None, None)
        assert chosen.described == "the user's own (-bios in the arguments for the hypervisor)"
    assert "the firmware is that of -bios in the arguments" in caplog.text


def test_the_users_own_firmware_does_not_replace_a_chosen_one(tmp_path: Path) -> None:
    """The launch strategy refuses both."""
    settings = testing.settings({"VMNET_FIRMWARE": "uefi", "VMNET_DISK_STATE": str(tmp_path)})
    assert firmware.choose(settings, FOR_BIOS, "-bios").kind == "uefi"


def test_uefi_has_its_variables_in_the_state_folder(installed: Path, tmp_path: Path) -> None:
    chosen = choose(FOR_UEFI, VMNET_DISK_STATE=str(tmp_path))
    assert chosen.code == installed / "60-plain-code.fd"
    template = installed / "60-plain-variables.fd"
    assert chosen.variables == FirmwareVariables(tmp_path / "uefi-variables.fd", template)
    assert not chosen.smm
    assert "UEFI (/disk has a boot loader only for UEFI)" in chosen.described


def test_secure_boot_has_keys_and_system_management_mode(installed: Path, tmp_path: Path) -> None:
    chosen = choose(FOR_BIOS, VMNET_FIRMWARE="secureboot", VMNET_DISK_STATE=str(tmp_path))
    assert (chosen.code, chosen.smm) == (installed / "40-secure-code.fd", True)
    assert chosen.variables is not None
    assert chosen.variables.path == tmp_path / "secureboot-variables.fd"


def test_a_file(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with pytest.raises(MachineError, match="no such file"):
        choose(FOR_UEFI, VMNET_FIRMWARE=str(image))
    image.write_bytes(b"")
    chosen = choose(FOR_UEFI, VMNET_FIRMWARE=str(image))
    assert (chosen.kind, chosen.code, chosen.variables) == ("image", image, None)
    assert chosen.described == f"{image} (VMNET_FIRMWARE)"


@pytest.mark.parametrize("kind", ["uefi", "secureboot"])
def test_missing_firmware_names_the_package(installed: Path, kind: str) -> None:
    for descriptor in installed.glob("*.json"):
        descriptor.write_text("")  # as an administrator disables a descriptor
    with pytest.raises(MachineError, match="needs UEFI firmware") as caught:
        choose(FOR_UEFI, VMNET_FIRMWARE=kind)
    assert "ovmf" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "mapping",
    [
        {"device": "memory"},
        {"mode": "combined"},
        {"executable": {"filename": "/dev/null", "format": "qcow2"}},
        {"executable": {"filename": "/none", "format": "raw"}},
    ],
)
def test_other_firmware_is_passed_over(
    installed: Path, tmp_path: Path, mapping: dict[str, Any]
) -> None:
    describe(installed, "10-other", mapping)
    chosen = choose(FOR_UEFI, VMNET_DISK_STATE=str(tmp_path))
    assert chosen.code == installed / "60-plain-code.fd"


def test_arm_has_no_bios(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="aarch64"))
    describe(installed, "60-arm", architecture="aarch64")
    chosen = choose(FOR_BIOS, VMNET_DISK_STATE=str(tmp_path))
    assert (chosen.kind, chosen.code) == ("uefi", installed / "60-arm-code.fd")
    for_kernel = choose(KERNEL)
    assert (for_kernel.code, for_kernel.variables) == (chosen.code, None)
    assert choose(KERNEL, VMNET_FIRMWARE="none").code is None
    with pytest.raises(MachineError, match="no machine of aarch64 has a BIOS"):
        choose(FOR_BIOS, VMNET_FIRMWARE="bios")
    with pytest.raises(MachineError, match="VMNET_FIRMWARE=none: only a kernel"):
        choose(FOR_BIOS, VMNET_FIRMWARE="none")


def test_a_guest_of_another_architecture(installed: Path, tmp_path: Path) -> None:
    settings = {"VMNET_ARCH": "arm64", "VMNET_DISK_STATE": str(tmp_path)}
    with pytest.raises(MachineError, match="none is installed") as caught:
        choose(FOR_BIOS, **settings)
    assert caught.value.hint.startswith("install the package qemu-efi-aarch64")
    describe(installed, "60-arm", architecture="aarch64")
    assert choose(FOR_BIOS, **settings).code == installed / "60-arm-code.fd"


def test_an_unwritable_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that the user names is refused; without it, the variables are not kept."""
    monkeypatch.setattr(os, "access", lambda *_: False)  # a read-only file system, seen by root
    with pytest.raises(MachineError, match=r"VMNET_DISK_STATE=.* is not writable"):
        choose(FOR_UEFI, VMNET_DISK_STATE=str(tmp_path))
    chosen = choose(FOR_UEFI, VMNET_RUN_DIR=str(tmp_path))
    assert chosen.variables is not None
    assert (chosen.variables.path.parent, chosen.variables.kept) == (tmp_path, False)
    assert "boot entries that the guest makes are lost" in caplog.text


def test_the_state_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="is not a folder"):
        choose(FOR_UEFI, VMNET_DISK_STATE=str(tmp_path / "file"))


def test_the_variables_of_an_ephemeral_disk_end_with_it(tmp_path: Path) -> None:
    boot = Boot((Disk(Path("/disk"), "raw", uefi=True, ephemeral=True),))
    chosen = choose(boot, VMNET_RUN_DIR=str(tmp_path))
    assert chosen.variables is not None
    assert (chosen.variables.path.parent, chosen.variables.kept) == (tmp_path, False)
    assert "variables, which end with the VM" in chosen.described


def test_variables_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "uefi-variables.fd").write_bytes(b"2 MiB")
    with pytest.raises(MachineError, match="has 5 bytes, but the firmware's variables need 21"):
        choose(FOR_UEFI, VMNET_DISK_STATE=str(tmp_path))


def test_a_start_makes_the_variables_once(tmp_path: Path) -> None:
    template, path = tmp_path / "template", tmp_path / "state" / "variables.fd"
    template.write_text("new")
    variables = FirmwareVariables(path, template)
    with ExitStack() as undo:
        making.prepare(variables, undo)
        assert path.read_text() == "new"
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()
    path.write_text("kept")
    with path.open() as other, ExitStack() as undo:
        fcntl.fcntl(other, _F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 101, 1, 0))
        with pytest.raises(MachineError, match="another VM uses the variables"):
            making.prepare(variables, undo)
    with ExitStack() as undo:
        making.prepare(variables, undo)
    assert path.read_text() == "kept"
    with ExitStack() as undo:
        making.prepare(FirmwareVariables(path, template, kept=False), undo)
        assert path.read_text() == "new"
