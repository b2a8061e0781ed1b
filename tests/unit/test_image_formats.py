"""Disk images of other formats than qcow2 and raw, as qemu-img makes them."""

from __future__ import annotations

import signal
import struct
import subprocess
from pathlib import Path

import pytest

from tests.unit.images import MIB, converted, create, header, qemu_img, refused, truncate
from vmnet.planning.storage.image import choose
from vmnet.planning.storage.image.choose import Choice

OTHERS = [
    ("qcow",),
    ("qed",),
    ("vdi",),
    ("vdi", "-o", "static=on"),
    ("vpc",),
    ("vhdx",),
    ("vhdx", "-o", "subformat=fixed"),
    ("vmdk",),
]


@pytest.mark.parametrize("options", OTHERS, ids=" ".join)
def test_a_format_that_qemu_reads_and_writes_is_served_in_that_format(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    name = options[0]
    for disk in (
        create(tmp_path / "new", "-f", *options, "1G"),
        converted(tmp_path / "full", "-O", *options),
    ):
        choice = choose.disk(disk, "auto")
        assert (choice.format, choice.guessed, choice.backed) == (name, False, False)
        assert f"`qemu-img convert -f {name} -O qcow2 {disk.name} {disk.name}.qcow2`" in choice.note
        assert choose.disk(disk, "auto", ephemeral=True) == Choice(name)
        assert choose.disk(disk, name).format == name
        assert choose.disk(disk, "raw") == Choice("raw"), "the user may declare it raw"
        assert choose.disk(create(tmp_path / "raw", "1M"), "auto") == Choice("raw", guessed=True)
        assert "in no known format" in refused(tmp_path / "raw", name).message


TRUNCATED = [
    *(("qed",), ("vdi",), ("vpc",), ("vpc", "-o", "subformat=fixed"), ("vmdk",)),
    ("vmdk", "-o", "subformat=streamOptimized"),
]


@pytest.mark.parametrize("options", TRUNCATED, ids=" ".join)
def test_another_image_that_is_truncated(options: tuple[str, ...], tmp_path: Path) -> None:
    disk = converted(tmp_path / "disk", "-O", *options, size=5 * MIB)
    whole = disk.stat().st_size
    footer = disk.read_bytes()[-512:] if "subformat=fixed" in options else b""
    for size in (whole - MIB, 3 * MIB, 1024):
        truncate(disk, size)
        with disk.open("ab") as file:  # without its footer, a fixed-size VHD is a raw disk
            file.write(footer)
        assert "truncated" in refused(disk, options[0]).message


@pytest.mark.parametrize(
    "options",
    [
        ("vmdk", "-o", "subformat=monolithicFlat"),
        ("vmdk", "-o", "subformat=twoGbMaxExtentFlat"),
        ("vmdk", "-o", "subformat=twoGbMaxExtentSparse"),
    ],
    ids=" ".join,
)
def test_a_disk_of_several_files(options: tuple[str, ...], tmp_path: Path) -> None:
    """QEMU would open files of the container by the names in the image."""
    disk = create(tmp_path / "disk.vmdk", "-f", *options, "8M")
    for part in (disk, *tmp_path.glob("disk-s*.vmdk")):
        for requested in ("auto", "vmdk"):
            error = refused(part, requested, ephemeral=True)
            assert "only a part of a disk" in error.message
            assert f"`qemu-img convert -f vmdk -O qcow2 {part.name}" in error.hint


@pytest.mark.parametrize("kind", ["qcow", "qed", "vmdk"])
def test_another_image_that_names_its_backing_file(kind: str, tmp_path: Path) -> None:
    base = create(tmp_path / "base", "-f", "vmdk" if kind == "vmdk" else "raw", "8M")
    base_format = "vmdk" if kind == "vmdk" else "raw"
    disk = create(tmp_path / "disk", "-f", kind, "-b", str(base), "-F", base_format, "8M")
    assert "only a part of a disk" in refused(disk).message


def test_a_vmdk_with_a_second_descriptor_where_qemu_looks_for_its_parent(tmp_path: Path) -> None:
    """Its header places the first descriptor elsewhere.

    The author of such an image could choose another file that QEMU opens.
    """
    base = create(tmp_path / "base.vmdk", "-f", "vmdk", "8M")
    disk = create(tmp_path / "disk.vmdk", "-f", "vmdk", "8M")
    content = disk.read_bytes().ljust(1 << 20, b"\0")
    descriptor = content[512 : 21 * 512].rstrip(b"\0")
    second = descriptor.replace(b"parentCID=ffffffff", b"parentCID=00000000")
    second += b'\nparentFileNameHint="%s"\n' % bytes(base)
    disk.write_bytes(content + descriptor.ljust(20 * 512, b"\0"))
    header(disk, 28, struct.pack("<QQ", len(content) // 512, 20))
    assert choose.disk(disk, "auto").format == "vmdk"
    header(disk, 512, second)
    assert f"backing file: {base}" in qemu_img("info", disk)
    assert "only a part of a disk" in refused(disk, ephemeral=True).message


def test_a_differencing_vhd(tmp_path: Path) -> None:
    disk = create(tmp_path / "disk.vhd", "-f", "vpc", "8M")
    assert "only a part of a disk" in refused(header(disk, 60, b"\0\0\0\4")).message


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ("vmdk", "-o", "subformat=streamOptimized"),
            "it is compressed, so QEMU can only read it",
        ),
        (("parallels",), "if QEMU is killed, it may refuse to open the image again"),
    ],
)
def test_an_image_that_qemu_must_not_write(
    options: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    disk = converted(tmp_path / "disk", "-O", *options)
    error = refused(disk)
    assert error.message.endswith(why)
    assert "`qemu-img convert" in error.hint
    assert "VMNET_DISK_MODE=ephemeral" in error.hint
    assert choose.disk(disk, "auto", ephemeral=True) == Choice(options[0])


@pytest.mark.parametrize("size", [47, 79])
def test_a_qcow_image_of_version_1_that_ends_within_its_header(size: int, tmp_path: Path) -> None:
    disk = create(tmp_path / "disk", "-f", "qcow", "8M")
    assert "truncated" in refused(truncate(disk, size)).message


def test_a_fixed_size_vhd_is_served_if_the_user_declares_it(tmp_path: Path) -> None:
    """Only its footer distinguishes it from a raw disk, and a guest can write a footer."""
    disk = create(tmp_path / "disk.vhd", "-f", "vpc", "-o", "subformat=fixed", "8M")
    error = refused(disk)
    assert "VHD image of fixed size" in error.message
    assert "VMNET_DISK_FORMAT=vpc" in error.hint
    assert choose.disk(disk, "vpc").format == "vpc"


@pytest.mark.parametrize(
    "options",
    [
        *OTHERS,
        ("qcow2",),
        ("qcow2", "-o", "lazy_refcounts=on"),
        ("qcow2", "-o", "cluster_size=512"),
    ],
    ids=" ".join,
)
def test_an_image_whose_qemu_was_killed_while_writing_is_served(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """Writes that were under way may be lost, and a start must not take this for damage."""
    disk = create(tmp_path / "disk", "-f", *options, "64M")
    for start in range(0, 60, 20):
        writes = [("-c", f"aio_write -q -P 7 {start + 5 * number}M 3000k") for number in range(4)]
        words = ("qemu-io", "-f", options[0], *(word for write in writes for word in write))
        killed = subprocess.run(
            (*words, "-c", "abort", disk), stderr=subprocess.PIPE, check=False, cwd=tmp_path
        )
        assert killed.returncode == -signal.SIGABRT, killed.stderr
        assert choose.disk(disk, "auto").format == options[0]
