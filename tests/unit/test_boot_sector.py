"""A disk that only UEFI firmware can boot is recognised in raw and qcow2 images."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest

from tests.lab.command import run
from vmnet.planning.storage.image import boot_sector

SIZE = 4 << 20
SYSTEM_PARTITION = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"


def sector(code: bytes = b"", kind: int = 0xEE, signature: bytes = b"\x55\xaa") -> bytes:
    partition = bytes((0, 0, 2, 0, kind, 0xFF, 0xFF, 0xFF)) + b"\1\0\0\0\xff\x1f\0\0"
    return code.ljust(446, b"\0") + partition.ljust(64, b"\0") + signature


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (sector(), True),
        (sector(code=b"\xeb\x63\x90"), False),
        (sector(kind=0x83), False),
        (sector(signature=b"\0\0"), False),
        (bytes(512), False),
        (b"", False),
    ],
)
@pytest.mark.parametrize("options", [(), ("-c",), ("-o", "extended_l2=on"), ("-o", "compat=0.10")])
def test_the_first_sector_decides(
    tmp_path: Path, content: bytes, expected: bool, options: tuple[str, ...]
) -> None:
    raw, image = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(content.ljust(SIZE, b"\0") if content else b"")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, image)
    assert boot_sector.needs_uefi(raw, "raw") is expected
    assert boot_sector.needs_uefi(image, "qcow2") is expected


def gpt(kind: str, count: int = 128, signature: bytes = b"EFI PART") -> bytes:
    """Return the first sectors of a GPT disk with a partition."""
    header = signature.ljust(72, b"\0") + struct.pack("<QII", 2, count, 128)
    entries = bytes(128) + uuid.UUID(kind).bytes_le.ljust(128, b"\0")
    return sector() + header.ljust(512, b"\0") + entries


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (gpt(SYSTEM_PARTITION), True),
        (gpt(LINUX), False),
        (gpt(LINUX, signature=b"garbage!"), True),  # for example with sectors of 4 KiB
        (gpt(LINUX, count=2000), True),  # a longer table than vmnet reads
    ],
)
def test_a_gpt_needs_a_system_partition(tmp_path: Path, content: bytes, expected: bool) -> None:
    raw, image = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(content.ljust(SIZE, b"\0"))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, image)
    assert boot_sector.needs_uefi(raw, "raw") is expected
    assert boot_sector.needs_uefi(image, "qcow2") is expected


@pytest.mark.parametrize("image_format", ["vmdk", "vdi", "vhdx", "vpc"])
@pytest.mark.parametrize(("kind", "expected"), [(SYSTEM_PARTITION, True), (LINUX, False)])
def test_other_formats(tmp_path: Path, image_format: str, kind: str, expected: bool) -> None:
    raw, image = tmp_path / "raw", tmp_path / "image"
    raw.write_bytes(gpt(kind).ljust(SIZE, b"\0"))
    run("qemu-img", "convert", "-f", "raw", "-O", image_format, raw, image)
    assert boot_sector.needs_uefi(image, image_format) is expected


def test_a_backing_file_has_the_first_sector(tmp_path: Path) -> None:
    raw, image = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(gpt(SYSTEM_PARTITION).ljust(SIZE, b"\0"))
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, image)
    assert boot_sector.needs_uefi(image, "qcow2")


def test_tiny_clusters_hide_the_partitions(tmp_path: Path) -> None:
    raw, image = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(gpt(LINUX).ljust(SIZE, b"\0"))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", raw, image)
    assert boot_sector.needs_uefi(image, "qcow2")


def test_unreadable_files_are_left_to_qemu(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(sector())
    assert not boot_sector.needs_uefi(disk, "vmdk")
    assert not boot_sector.needs_uefi(disk, "qcow2")
    assert not boot_sector.needs_uefi(tmp_path, "raw")
