"""A disk that only UEFI firmware can boot is recognised in raw and qcow2 images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.command import run
from vmnet.planning.image import boot_sector

SIZE = 4 << 20


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


def test_other_formats_and_unreadable_files_are_left_to_qemu(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(sector())
    assert not boot_sector.needs_uefi(disk, "vmdk")
    assert not boot_sector.needs_uefi(disk, "qcow2")
    assert not boot_sector.needs_uefi(tmp_path, "raw")
