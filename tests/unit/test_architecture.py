"""The architecture of the guest's processor, and what follows from another than the host's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from vmnet_qemu import binary, hardware

from vmnet import testing
from vmnet.api import LaunchError, process
from vmnet.errors import MachineError
from vmnet.model.architecture import AARCH64, ARCHITECTURES, X86_64, Architecture
from vmnet.planning.booting.boot import boot_devices
from vmnet.planning.hardware import accelerator, architecture


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The answer of uname(2)."""
    answer = SimpleNamespace(machine="x86_64")
    monkeypatch.setattr("os.uname", lambda: answer)
    return answer


def choose(value: str) -> Architecture:
    return architecture.choose(testing.settings({"VMNET_ARCH": value}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("auto", X86_64),
        ("x86_64", X86_64),
        ("amd64", X86_64),
        ("aarch64", AARCH64),
        ("ARM64", AARCH64),
    ],
)
def test_names_and_aliases(value: str, expected: Architecture) -> None:
    assert choose(value) == expected


def test_the_containers_own_is_the_default(own: SimpleNamespace) -> None:
    own.machine = "aarch64"
    assert choose("auto") == AARCH64
    own.machine = "riscv64"
    with pytest.raises(MachineError, match="this machine is riscv64") as caught:
        choose("auto")
    assert "set VMNET_ARCH to x86_64 or aarch64" in caught.value.hint
    assert choose("arm64") == AARCH64


def test_qemu_has_hardware_for_each() -> None:
    for each in ARCHITECTURES:
        found = hardware.of(each.name)
        assert hardware.of_machine_type(found.machine) == each.name


def test_a_foreign_guest_has_no_kvm() -> None:
    assert accelerator.choose("auto", AARCH64) == "tcg"
    with pytest.raises(MachineError, match="the guest's processor is aarch64, the host's x86_64"):
        accelerator.choose("kvm", AARCH64)


def test_the_demonstration_has_a_folder_for_each_foreign_architecture(tmp_path: Path) -> None:
    environ = {"VMNET_DEMO": str(tmp_path), "VMNET_ARCH": "arm64"}
    with pytest.raises(MachineError, match=r"no demonstration Linux in .*/aarch64") as caught:
        boot_devices(testing.settings(environ))
    assert "--build-arg FOREIGN=on" in caught.value.hint
    (tmp_path / "aarch64").mkdir()
    for name in ("vmlinuz", "initrd"):
        (tmp_path / "aarch64" / name).touch()
    kernel = boot_devices(testing.settings(environ)).kernel
    assert kernel is not None
    assert kernel.path == tmp_path / "aarch64" / "vmlinuz"
    assert kernel.append.startswith("console=ttyAMA0 ")


def test_a_missing_qemu_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find", lambda _: None)
    with pytest.raises(LaunchError, match="qemu-system-aarch64 is not installed") as caught:
        binary.find(None, "aarch64")
    assert "`apt-get install qemu-system-arm`" in caught.value.hint
    assert "FOREIGN=on" in caught.value.hint
    with pytest.raises(LaunchError, match="qemu-system-x86_64 is not installed") as caught:
        binary.find(None, "x86_64")
    assert "the image contains QEMU" in caught.value.hint
