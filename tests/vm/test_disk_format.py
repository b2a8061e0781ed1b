"""A guest does not choose what its disk is opened as at the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.initrd import appended
from tests.lab.netns import Lan
from tests.vm.conftest import Machine

pytestmark = pytest.mark.vm

_PLANTER = Path(__file__).with_name("planter")
_MIB = 1 << 20


def test_a_header_that_the_guest_writes_makes_no_larger_disk(
    network: Lan, machine: Machine, tmp_path: Path
) -> None:
    """It fails for the guest, which may write anything else there; the disk stays what it is."""
    header, disk = tmp_path / "header", tmp_path / "disk"
    run("qemu-img", "create", "-q", "-f", "qcow2", header, "1T")
    disk.write_bytes(b"OLD!".ljust(64 * _MIB, b"\0"))
    demo = Path(machine.environ["VMNET_DEMO"])
    files = {"/planter": _PLANTER / "init", "/header": header}
    settings = {
        "VMNET_DISK": str(disk),
        "VMNET_KERNEL": str(demo / "vmlinuz"),
        "VMNET_INITRD": str(appended(demo / "initrd", files, tmp_path / "initrd")),
        "VMNET_APPEND": "console=ttyS0 quiet panic=-1 rdinit=/planter",
    }
    for begins in ("OLD!", "TEXT"):
        with machine.booted(network.container("db"), **settings) as guest:
            said = guest.says("planter: done").replace("\r", "")
        assert f"sectors: {64 * _MIB // 512}\n" in said
        assert f"begins: {begins}\n" in said
        assert "header: 1\n" in said
        assert "text: 0\n" in said
        assert "VMNET_DISK_FORMAT=raw" in said, "how to lift it is in the log"
    assert disk.stat().st_size == 64 * _MIB
    assert disk.read_bytes()[:4] == b"TEXT"
