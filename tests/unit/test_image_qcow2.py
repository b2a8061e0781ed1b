"""qcow2 images: all options of qemu-img, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.images import MIB, converted, create, header, qemu_img, refused, truncate
from vmnet.planning.storage.image import choose
from vmnet.planning.storage.image.choose import Choice

QCOW2 = [
    (),
    ("-o", "compat=0.10"),
    ("-o", "lazy_refcounts=on"),
    ("-o", "cluster_size=512"),
    ("-o", "cluster_size=2M"),
    ("-o", "refcount_bits=1"),
    ("-o", "extended_l2=on,cluster_size=128k"),
    ("-o", "preallocation=metadata"),
    ("-o", "compression_type=zstd"),
]


@pytest.mark.parametrize("options", QCOW2, ids=" ".join)
def test_a_qcow2_image(options: tuple[str, ...], tmp_path: Path) -> None:
    for disk in (
        create(tmp_path / "new", "-f", "qcow2", *options, "1G"),
        converted(tmp_path / "full", "-O", "qcow2", *options, size=3 * MIB),
    ):
        assert choose.disk(disk, "auto") == Choice("qcow2")
        assert choose.disk(disk, "qcow2") == Choice("qcow2")


COMPRESSED = [("-c",), ("-c", "-o", "compression_type=zstd"), ("-c", "-o", "cluster_size=4k")]


@pytest.mark.parametrize("options", QCOW2 + COMPRESSED, ids=" ".join)
def test_a_qcow2_image_that_is_truncated(options: tuple[str, ...], tmp_path: Path) -> None:
    """Truncated within its data, its tables and its header; the disk mode makes no difference."""
    disk = converted(tmp_path / "disk", "-O", "qcow2", *options, size=5 * MIB)
    whole = disk.stat().st_size
    assert choose.disk(disk, "auto") == Choice("qcow2")
    # As for `qemu-img check`, part of the last cluster may be missing. It has up to 2 MiB.
    for size in (whole - 2 * MIB, whole // 2, 4096, 80):
        error = refused(truncate(disk, size))
        assert f"VMNET_DISK={disk} is a qcow2 image, but damaged: it is truncated" in error.message
        assert "`qemu-img check -f qcow2 disk`" in error.hint
        assert refused(disk, "qcow2").message == error.message
        assert refused(disk, ephemeral=True).message == error.message


def test_clusters_that_a_killed_qemu_had_only_allocated_are_no_damage(tmp_path: Path) -> None:
    """The refcounts count a cluster past the end of the file, but no table names it."""
    disk = create(tmp_path / "disk", "-f", "qcow2", "1G")
    with disk.open("r+b") as file:
        file.seek(0x20000 + 2 * 1000)  # the first block of reference counts, of 16 bits each
        file.write(b"\0\1")
    qemu_img("check", disk)
    assert choose.disk(disk, "auto") == Choice("qcow2")


def test_a_table_that_names_a_cluster_past_the_end(tmp_path: Path) -> None:
    disk = converted(tmp_path / "disk", "-O", "qcow2", size=MIB)
    truncate(disk, disk.stat().st_size - 65536)
    assert "its data continues" in refused(disk).message


@pytest.mark.parametrize(
    ("offset", "content", "fault"),
    [
        (4, b"\0\0\0\4", "its version is 4"),
        (4, b"\0\0\0\0", "its version is 0"),
        (20, b"\0\0\0\x40", "its cluster size of 2^64 bytes is invalid"),
        (24, b"\xff" * 8, "its L1 table of 2 entries is too small"),
        (32, b"\0\0\0\1", "it is encrypted"),
        (36, b"\xff" * 4, "its L1 table of 4294967295 entries is too large"),
        (40, b"\0" * 8, "its L1 table overlaps the header"),
        (40, b"\0\0\0\0\0\0\0\7", "its L1 table has an invalid offset: 0x7"),
        (40, b"\0\0\1\0\0\0\0\0", "truncated: its L1 table"),
        (48, b"\xff\0\0\0\0\0\0\0", "truncated: its refcount table"),
        (56, b"\0" * 4, "its refcount table size of 0 clusters is invalid"),
        (60, b"\0\0\0\1\0\0\0\0\0\x10\0\0", "truncated: its snapshot table"),
        (79, b"\2", "QEMU has marked it corrupt"),
        (79, b"\x20", "it uses unknown features: 0x20"),
        (99, b"\7", "its refcount width of 2^7 bits is invalid"),
        (100, b"\0\0\0\x10", "its header size of 16 bytes is invalid"),
        (0x10000, b"\0\0\0\0\1\0\0\0", "a refcount block starts"),
        (0x30000, b"\x80\0\0\0\1\0\0\0", "an L2 table starts"),
        (0x30000, b"\x80\0\0\0\0\0\2\0", "an L2 table has an invalid offset: 0x200"),
    ],
)
def test_a_qcow2_image_with_invalid_numbers(
    offset: int, content: bytes, fault: str, tmp_path: Path
) -> None:
    disk = create(tmp_path / "disk", "-f", "qcow2", "1G")
    assert fault in refused(header(disk, offset, content)).message
