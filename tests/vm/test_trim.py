"""The disk image loses the sectors that the guest discards or zeroes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT
from tests.vm.conftest import DemoVm, booting

pytestmark = pytest.mark.vm

_TRIMMER = Path(__file__).with_name("trimmer")
_MIB = 1 << 20


def _allocated(path: Path) -> int:
    return path.stat().st_blocks * 512  # stat(2)


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_discarded_and_zeroed_sectors_leave_the_image(
    network: Lan, machine: DemoVm, tmp_path: Path, image_format: str
) -> None:
    full, disk = tmp_path / "full", tmp_path / "disk"
    full.write_bytes(b"x" * 16 * _MIB)
    run("qemu-img", "convert", "-f", "raw", "-O", image_format, full, disk)
    assert _allocated(disk) >= 16 * _MIB
    settings = booting(machine, _TRIMMER / "init", tmp_path)
    with machine.booted(network.container("db"), **settings, VMNET_DISK=str(disk)) as guest:
        guest.says("trimmer: done")
        guest.process.wait(WAIT)
        output = guest.output()
    assert "discarded: 0" in output
    assert "zeroed: 0" in output
    assert _allocated(disk) < 2 * _MIB
    run("qemu-img", "convert", "-f", image_format, "-O", "raw", disk, full)
    assert full.read_bytes() == bytes(16 * _MIB)
