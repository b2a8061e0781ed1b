"""A disk's format, told from images that qemu-img made and headers that a guest planted."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from vmnet.errors import MachineError
from vmnet.image import disk_format

needs_qemu_img = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img not installed")


def create(path: Path, *arguments: str) -> Path:
    command = ("qemu-img", "create", "-q", *arguments[:-1], str(path), arguments[-1])
    subprocess.run(command, check=True, timeout=30)
    return path


@needs_qemu_img
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-f", "raw", "1M"), "raw"),
        (("-f", "qcow2", "1M"), "qcow2"),
        (("-f", "qcow2", "-o", "compat=0.10", "1M"), "qcow2"),
        (("-f", "qcow2", "-o", "lazy_refcounts=on", "1M"), "qcow2"),
    ],
)
def test_a_real_image(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    assert disk_format(create(tmp_path / "disk", *arguments), "auto") == expected


@needs_qemu_img
@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_an_image_with_a_backing_file_is_refused(compat: str, tmp_path: Path) -> None:
    base = create(tmp_path / "base", "-f", "raw", "1M")
    backing = ("-b", str(base), "-F", "raw", "-o", f"compat={compat}")
    disk = create(tmp_path / "disk", "-f", "qcow2", *backing, "1M")
    with pytest.raises(MachineError) as caught:
        disk_format(disk, "auto")
    assert caught.value.message == f"VMNET_DISK={disk} is a qcow2 image that refers to another file"
    assert "VMNET_DISK_FORMAT=qcow2" in caught.value.hint
    assert disk_format(disk, "qcow2") == "qcow2", "its owner may say so"


@needs_qemu_img
def test_an_image_with_an_external_data_file_is_refused(tmp_path: Path) -> None:
    data = f"data_file={tmp_path / 'data'}"
    disk = create(tmp_path / "disk", "-f", "qcow2", "-o", data, "1M")
    with pytest.raises(MachineError, match="refers to another file"):
        disk_format(disk, "auto")


def planted(path: Path, backing: bytes) -> Path:
    """A raw disk into which a guest wrote a qcow2 header that names a file of the container."""
    header = struct.pack(">4sIQI", b"QFI\xfb", 3, 104, len(backing)).ljust(104, b"\0")
    path.write_bytes((header + backing).ljust(1 << 20, b"\0"))
    return path


def test_a_header_planted_by_the_guest_is_refused_and_not_followed(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="refers to another file"):
        disk_format(planted(tmp_path / "disk", b"/etc/shadow"), "auto")


def test_a_disk_declared_raw_stays_raw_whatever_it_holds(tmp_path: Path) -> None:
    assert disk_format(planted(tmp_path / "disk", b"/etc/shadow"), "raw") == "raw"


@pytest.mark.parametrize("content", [b"", b"QFI", b"\0" * 512, b"\xfbQFI"])
def test_what_is_too_short_or_something_else_is_raw(content: bytes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    assert disk_format(disk, "auto") == "raw"


@pytest.mark.parametrize("wish", ["raw", "qcow2"])
def test_a_format_that_is_given_needs_no_look(wish: str, tmp_path: Path) -> None:
    assert disk_format(tmp_path / "absent", wish) == wish
