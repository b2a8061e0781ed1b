"""A qcow2 image that names other files: accepted if the user declares it and the files exist."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.unit.images import create, header, qemu_img, refused, truncate
from vmnet.errors import MachineError
from vmnet.planning.storage.image import choose, qcow2
from vmnet.planning.storage.image.choose import Choice


def overlay(path: Path, base: str | Path, base_format: str = "qcow2", *options: str) -> Path:
    return create(path, "-f", "qcow2", "-u", "-b", str(base), "-F", base_format, *options, "1M")


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
@pytest.mark.parametrize("base_format", ["raw", "qcow2", "vmdk"])
def test_a_backing_file(compat: str, base_format: str, tmp_path: Path) -> None:
    base = create(tmp_path / "base", "-f", base_format, "1M")
    disk = overlay(tmp_path / "disk", base, base_format, "-o", f"compat={compat}")
    error = refused(disk)
    assert error.message == f"VMNET_DISK={disk} is a qcow2 image that refers to another file"
    assert "VMNET_DISK_FORMAT=qcow2" in error.hint
    assert choose.disk(disk, "qcow2") == Choice("qcow2", backed=True), "the user declares it"
    base.unlink()
    error = refused(disk, "qcow2")
    assert error.message.startswith(f"the disk image {disk} needs {base}, which can't be read")
    assert error.hint == f"mount it: `-v /path/on/the/host:{base}`"


def test_a_name_is_relative_to_the_folder_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "bases").mkdir()
    create(tmp_path / "bases" / "first", "-f", "qcow2", "1M")
    overlay(tmp_path / "bases" / "second", "first")
    disk = overlay(tmp_path / "disk", "bases/second")
    assert choose.disk(disk, "qcow2") == Choice("qcow2", backed=True)
    (tmp_path / "bases" / "first").unlink()
    assert f"second needs {tmp_path / 'bases' / 'first'}, which" in refused(disk, "qcow2").message


def test_a_backing_file_without_a_declared_format_is_refused(tmp_path: Path) -> None:
    """QEMU would guess the format from content that a guest may have written.

    An image made by QEMU before 6.1 may lack the format.
    """
    base = create(tmp_path / "its base", "-f", "raw", "1M")
    disk = overlay(tmp_path / "disk", base.name, "raw")
    content = disk.read_bytes()
    extension = content.index(struct.pack(">II", qcow2.BACKING_FORMAT, 3))
    header(disk, extension, struct.pack(">I", 0x11111111))  # an unknown type
    upper = overlay(tmp_path / "upper", "disk")
    planted(base, b"/etc/shadow")
    for image in (disk, upper):
        error = refused(image, "qcow2")
        assert error.message == (
            f"the disk image {disk} does not declare the format of its backing file its base"
        )
    command = error.hint.split("`")[1].replace("FORMAT", "raw")
    run("sh", "-c", f"cd {tmp_path} && {command}")
    assert choose.disk(disk, "qcow2") == Choice("qcow2", backed=True)
    assert choose.disk(upper, "qcow2") == Choice("qcow2", backed=True)


def test_every_image_of_the_chain_is_checked(tmp_path: Path) -> None:
    base = create(tmp_path / "base", "-f", "qcow2", "1M")
    middle = overlay(tmp_path / "middle", base)
    disk = overlay(tmp_path / "disk", middle)
    truncate(base, 100)
    error = refused(disk, "qcow2")
    assert f"{base}, the backing file of {middle}, is damaged: it is truncated" in error.message
    base.write_bytes(b"\0" * 512)
    assert "it is declared as qcow2, but is not" in refused(disk, "qcow2").message


def test_a_circular_chain(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    overlay(first, second)
    overlay(second, first)
    error = refused(first, "qcow2")
    assert error.message == f"the backing file {first} of {second} depends on {second} itself"


@pytest.mark.parametrize("name", ["nbd://[::1]/disk", "https://192.0.2.1/disk"])
def test_a_backing_name_on_the_network_is_left_to_qemu(name: str, tmp_path: Path) -> None:
    disk = overlay(tmp_path / "disk", name, "raw")
    assert choose.disk(disk, "qcow2") == Choice("qcow2", backed=True)


@pytest.mark.parametrize(
    "name",
    [
        'json:{"driver":"file","filename":"/etc/shadow"}',
        "fat:/etc",
        "host_device:/dev/sda",
        "nbd+unix:///disk?socket=/run/nbd",
        "blkdebug::/etc/shadow",
    ],
)
def test_a_backing_name_that_may_name_any_file_is_refused(name: str, tmp_path: Path) -> None:
    error = refused(overlay(tmp_path / "disk", name, "raw"), "qcow2")
    assert error.message == (
        f"the disk image {tmp_path / 'disk'} refers to {name}, which may name any file"
    )


@pytest.mark.parametrize(
    "name", ["{}/other/base", "link", "sub/../../other/base", "file:{}/other/base"]
)
def test_a_file_in_another_folder_needs_a_permission(name: str, tmp_path: Path) -> None:
    """Its content would be the guest's disk; the image may come from elsewhere."""
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own / "sub", other):
        folder.mkdir(parents=True)
    base = create(other / "base", "-f", "raw", "1M")
    (own / "link").symlink_to(base)
    disk = overlay(own / "disk", name.format(tmp_path), "raw")
    error = refused(disk, "qcow2")
    assert error.message == f"the disk image {disk} refers to {base}, which is in another folder"
    assert error.hint.endswith(f"set VMNET_DISK_BACKING={other}")
    allowed = choose.disk(disk, "qcow2", folders=(other,))
    assert allowed == Choice("qcow2", backed=True)


def test_each_image_of_the_chain_and_a_data_file_need_the_permission(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    base = create(other / "base", "-f", "raw", "1M")
    middle = overlay(own / "middle", base, "raw")
    assert f"{middle} refers to {base}" in refused(overlay(own / "top", middle), "qcow2").message
    apart = create(own / "disk", "-f", "qcow2", "-o", f"data_file={other / 'data'}", "1M")
    assert f"refers to {other / 'data'}" in refused(apart, "qcow2").message


def test_a_backing_file_of_several_files_is_refused(tmp_path: Path) -> None:
    """Its descriptor could name any file of the container."""
    base = tmp_path / "base.vmdk"
    base.write_text(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        'createType="monolithicFlat"\nRW 2048 FLAT "/etc/shadow" 0\n'
    )
    error = refused(overlay(tmp_path / "disk", base, "vmdk"), "qcow2")
    assert error.message.startswith(f"{base}, the backing file of {tmp_path / 'disk'}, refers to")
    lower = create(tmp_path / "lower", "-f", "raw", "1M")
    middle = create(tmp_path / "middle", "-f", "qed", "-u", "-b", str(lower), "-F", "raw", "1M")
    error = refused(overlay(tmp_path / "upper", middle, "qed"), "qcow2")
    assert "refers to other files" in error.message


def test_a_backing_file_is_in_its_declared_format(tmp_path: Path) -> None:
    base = create(tmp_path / "base", "-f", "raw", "1M")
    for declared in ("vmdk", "luks", "host_device"):
        disk = overlay(tmp_path / declared, base, declared)
        assert f"is declared as {declared}, but is not" in refused(disk, "qcow2").message


def test_an_external_data_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    disk = create(tmp_path / "disk", "-f", "qcow2", "-o", f"data_file={data}", "1M")
    qemu_img("convert", "-n", "-f", "raw", "-O", "qcow2", create(tmp_path / "full", "1M"), disk)
    assert "refers to another file" in refused(disk).message
    assert choose.disk(disk, "qcow2") == Choice("qcow2", backed=True)
    data.unlink()
    assert f"needs {data}, which can't be read" in refused(disk, "qcow2").message


def planted(path: Path, backing: bytes) -> Path:
    """Make a raw disk to which a guest wrote a qcow2 header that names a file of the container."""
    content = struct.pack(">4sIQI", b"QFI\xfb", 3, 104, len(backing)).ljust(104, b"\0")
    path.write_bytes((content + backing).ljust(1 << 20, b"\0"))
    return path


def test_a_header_planted_by_the_guest_is_refused_and_not_followed(tmp_path: Path) -> None:
    disk = planted(tmp_path / "disk", b"/etc/shadow")
    assert "refers to another file" in refused(disk).message
    assert choose.disk(disk, "raw") == Choice("raw"), "the user declares it raw"


def test_the_name_of_a_backing_file_must_be_in_the_header(tmp_path: Path) -> None:
    disk = overlay(tmp_path / "disk", "base")
    header(disk, 8, b"\0\0\0\0\1\0\0\0")
    with pytest.raises(MachineError, match="the name of its backing file is outside the header"):
        choose.disk(disk, "qcow2")
