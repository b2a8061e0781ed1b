"""A disk for UEFI boots, UEFI's variables are kept, and secure boot refuses an unsigned loader."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.images import uefi
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT
from tests.vm.conftest import VMNET, DemoVm

pytestmark = [pytest.mark.vm, pytest.mark.long]

_SCRIPT = """\
@echo -off
setvar VmnetTest -guid 6e3f6b2c-4b0f-4a57-9c41-5f0f9b6f2d11
if %lasterror% == 0 then
  echo the variable is still there
  reset -s
endif
setvar VmnetTest -guid 6e3f6b2c-4b0f-4a57-9c41-5f0f9b6f2d11 -bs -rt -nv =41
echo the variable is written
reset -s
"""


def on(disk: Path, **settings: str) -> dict[str, str]:
    state = str(disk.with_name("state"))
    return {
        "VMNET_DISK": str(disk),
        "VMNET_DISK_FORMAT": "raw",
        "VMNET_DISK_STATE": state,
        "VMNET_MEMORY": "512M",  # with 256 MiB and secure boot, the kernel resets the machine
    } | settings


def test_a_disk_for_uefi_boots(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    disk = uefi.make_demonstration(tmp_path / "disk.raw", Path(machine.environ["VMNET_DEMO"]))
    container = network.container("web")
    with machine.booted(container, **on(disk)) as guest:
        guest.says("vmnet-guest#")
        entered = ("nsenter", "-t", str(guest.process.pid), "-n", "-p", "-m")
        environ = {**machine.environ, **on(disk)}
        status = run(*entered, *VMNET, "status", env=environ, timeout=WAIT).stdout
    variables = tmp_path / "state" / "uefi-variables.fd"
    assert f"UEFI ({disk} has a boot loader only for UEFI), variables in {variables}" in status
    assert stat.S_IMODE(variables.stat().st_mode) == 0o600


def test_variables_survive_a_restart(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    """The firmware's own shell runs a script that is on the disk."""
    script = tmp_path / "startup.nsh"
    script.write_text(_SCRIPT)
    disk = uefi.make_disk(tmp_path / "disk.raw", {"/startup.nsh": script}, mib=16)
    container = network.container("web")
    for text in ("written", "still there"):
        with machine.booted(container, **on(disk)) as guest:
            guest.says(f"the variable is {text}")
            assert guest.process.wait(WAIT) == 0


@pytest.mark.parametrize(
    ("loader", "expected"),
    [(uefi.SIGNED_SHIM, "vmnet-guest#"), (uefi.UNSIGNED_GRUB, "Access Denied")],
    ids=["signed", "unsigned"],
)
def test_secure_boot(
    network: Lan, machine: DemoVm, tmp_path: Path, loader: Path, expected: str
) -> None:
    demo = Path(machine.environ["VMNET_DEMO"])
    disk = uefi.make_demonstration(tmp_path / "disk.raw", demo, loader)
    container = network.container("web")
    with machine.booted(container, **on(disk, VMNET_FIRMWARE="secureboot")) as guest:
        guest.says(expected)
