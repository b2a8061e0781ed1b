"""A warning of a disk for UEFI on a machine with a BIOS."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from vmnet_qemu import firmware
from vmnet_qemu.arguments import Options
from vmnet_qemu.rows import ROWS

from vmnet import testing
from vmnet.api import Disk, Kernel, Machine

DISK = Disk(Path("/disk"), "raw", uefi=True)


@pytest.fixture(autouse=True)
def pc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="x86_64"))


def check(machine: Machine, *extra: str, **environ: str) -> None:
    firmware.check(machine, Options(testing.settings(environ, *ROWS), extra=extra))


def test_a_disk_for_uefi_needs_firmware(caplog: pytest.LogCaptureFixture) -> None:
    check(testing.machine(devices=(DISK,)))
    assert "VMNET_DISK=/disk has a boot loader only for UEFI" in caplog.text
    assert "VMNET_FIRMWARE" in caplog.records[0].hint  # type: ignore[attr-defined]


def test_no_warning_if_the_vm_can_boot(caplog: pytest.LogCaptureFixture) -> None:
    machine = testing.machine(devices=(DISK,))
    check(machine, VMNET_FIRMWARE="/OVMF.fd")
    check(machine, "-drive", "if=pflash,format=raw,file=/OVMF.fd")
    check(testing.machine(devices=(Disk(Path("/disk"), "raw"), DISK)))
    check(testing.machine(devices=(DISK,), kernel=Kernel(Path("/vmlinuz"))))
    assert not caplog.text
