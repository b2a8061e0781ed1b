"""A guest does not choose what its disk is opened as at the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.initrd import appended
from tests.lab.namespace import Namespace
from tests.lab.netns import Lan
from tests.vm.conftest import Machine

pytestmark = pytest.mark.vm

_PLANTER = Path(__file__).with_name("planter")
_MIB = 1 << 20


def test_a_header_that_the_guest_writes_makes_no_larger_disk(
    network: Lan, machine: Machine, tmp_path: Path
) -> None:
    """It fails for the guest, which may write anything else there; the disk stays what it is."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"OLD!".ljust(64 * _MIB, b"\0"))
    container = network.container("db")
    for begins in ("OLD!", "TEXT"):
        said = _planted(container, machine, disk, tmp_path)
        assert f"sectors: {64 * _MIB // 512}\n" in said
        assert f"begins: {begins}\n" in said
        assert "header: 1\n" in said
        assert "text: 0\n" in said
        assert "VMNET_DISK_FORMAT=raw" in said, "how to lift it is in the log"
    assert disk.stat().st_size == 64 * _MIB
    assert disk.read_bytes()[:4] == b"TEXT"


def test_a_vmdk_is_written_as_what_it_is(network: Lan, machine: Machine, tmp_path: Path) -> None:
    """And what the guest writes to it is no header of the image: this guest may write any."""
    disk = tmp_path / "disk.vmdk"
    run("qemu-img", "create", "-q", "-f", "vmdk", disk, "64M")
    said = _planted(network.container("db"), machine, disk, tmp_path)
    assert f"sectors: {64 * _MIB // 512}\n" in said
    assert "header: 0\n" in said
    assert "text: 0\n" in said
    run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", disk, tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes()[:4] == b"TEXT"


def _planted(container: Namespace, machine: Machine, disk: Path, folder: Path) -> str:
    """What a guest reports that writes a qcow2 header to its disk."""
    demo, header = Path(machine.environ["VMNET_DEMO"]), folder / "header"
    run("qemu-img", "create", "-q", "-f", "qcow2", header, "1T")
    files = {"/planter": _PLANTER / "init", "/header": header}
    settings = {
        "VMNET_DISK": str(disk),
        "VMNET_KERNEL": str(demo / "vmlinuz"),
        "VMNET_INITRD": str(appended(demo / "initrd", files, folder / "initrd")),
        "VMNET_APPEND": "console=ttyS0 quiet panic=-1 rdinit=/planter",
    }
    with machine.booted(container, **settings) as guest:
        guest.says("planter: done")
        guest.process.wait(30)
        return guest.output().replace("\r", "")
