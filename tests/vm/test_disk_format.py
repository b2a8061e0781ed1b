"""A guest cannot choose the format in which the next start opens its disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT
from tests.vm.conftest import DemoVm, booting

pytestmark = pytest.mark.vm

_PLANTER = Path(__file__).with_name("planter")
_MIB = 1 << 20


def test_the_guest_cannot_write_the_header_of_a_larger_disk(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    """The write of a qcow2 header fails, and a write of anything else succeeds."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"OLD!".ljust(64 * _MIB, b"\0"))
    container = network.container("db")
    for begins in ("OLD!", "TEXT"):
        output = _planter_output(container, machine, disk, tmp_path)
        assert f"sectors: {64 * _MIB // 512}\n" in output
        assert f"begins: {begins}\n" in output
        assert "header: 1\n" in output
        assert "text: 0\n" in output
        assert "VMNET_DISK_FORMAT=raw" in output, "the log states how to allow such a write"
    assert disk.stat().st_size == 64 * _MIB
    assert disk.read_bytes()[:4] == b"TEXT"


def test_a_raw_disk_stays_raw_at_every_later_start(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    """The guest writes a qcow2 header to a disk that its first start declares raw."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"OLD!".ljust(64 * _MIB, b"\0"))
    container = network.container("db")
    _planter_output(container, machine, disk, tmp_path, VMNET_DISK_FORMAT="raw", append="only")
    with disk.open("rb") as file:
        assert file.read(4) == b"QFI\xfb"
    output = _planter_output(container, machine, disk, tmp_path)
    assert f"sectors: {64 * _MIB // 512}\n" in output
    assert "is a raw disk, as at earlier starts" in output


def test_a_vmdk_is_written_in_its_format(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    """The guest may write any header, because it cannot reach the header of the image itself."""
    disk = tmp_path / "disk.vmdk"
    run("qemu-img", "create", "-q", "-f", "vmdk", disk, "64M")
    output = _planter_output(network.container("db"), machine, disk, tmp_path)
    assert f"sectors: {64 * _MIB // 512}\n" in output
    assert "header: 0\n" in output
    assert "text: 0\n" in output
    run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", disk, tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes()[:4] == b"TEXT"


def test_an_overlay_keeps_the_guests_writes_and_the_image_stays(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    """The guest writes a qcow2 header to its raw disk, which stays raw."""
    image = tmp_path / "image"
    image.write_bytes(b"OLD!".ljust(64 * _MIB, b"\0"))
    image.chmod(0o400)
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    container = network.container("db")
    settings = {
        "VMNET_DISK_MODE": "overlay",
        "VMNET_DISK_STATE": str(tmp_path / "state"),
        "VMNET_DISK_SIZE": "96M",
    }
    for begins in ("OLD!", "TEXT"):
        output = _planter_output(container, machine, image, tmp_path, **settings)
        assert f"sectors: {96 * _MIB // 512}\n" in output
        assert f"begins: {begins}\n" in output
        assert "header: 0\n" in output
        assert "text: 0\n" in output
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before


def _planter_output(
    container: Namespace,
    machine: DemoVm,
    disk: Path,
    folder: Path,
    append: str = "",
    **environ: str,
) -> str:
    """Boot a guest that writes a qcow2 header to its disk, and return its output."""
    header = folder / "header"
    run("qemu-img", "create", "-q", "-f", "qcow2", header, "1T")
    settings = booting(machine, _PLANTER / "init", folder, header=header)
    settings |= {"VMNET_DISK": str(disk), **environ}
    settings["VMNET_APPEND"] += f" {append}"
    with machine.booted(container, **settings) as guest:
        guest.says("planter: done")
        guest.process.wait(WAIT)
        return guest.output().replace("\r", "")
