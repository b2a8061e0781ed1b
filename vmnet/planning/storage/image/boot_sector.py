"""Recognise a disk that only UEFI firmware can boot."""

from __future__ import annotations

import os
from pathlib import Path

from vmnet import process
from vmnet.planning.storage.image import qcow2
from vmnet.planning.storage.image.reading import little_endian, opened

_SECTOR = 512
_SIGNATURE = b"\x55\xaa"
_BOOT_CODE = 440  # bytes of the BIOS's boot code (UEFI specification, section 5.2.1)
_PARTITIONS = range(446, 510, 16)
_PROTECTIVE = 0xEE  # type of the partition that covers a GPT disk (section 5.2.3)
_GPT = b"EFI PART"  # the header in the second sector (section 5.3.2)
_ENTRIES_AT, _COUNT_AT, _SIZE_AT, _HEADER = 72, 80, 84, 92
# C12A7328-F81F-11D2-BA4B-00A0C93EC93B, with its first three numbers in little-endian order.
_SYSTEM_PARTITION = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
_TABLE = 34 * _SECTOR  # the sectors of the usual GPT, with 128 entries


def needs_uefi(path: Path, image_format: str) -> bool:
    """Return whether a disk has an EFI system partition, but no boot code for a BIOS.

    A BIOS would run the empty boot sector, and hang.

    :param image_format: QEMU's name
    :returns: False also for a disk that can't be read, which QEMU reports
    """
    try:
        start = _first_bytes(path, image_format)
    except OSError:  # TimeoutError included
        return False
    return is_empty(start[:_SECTOR]) and may_boot(start)


def _first_bytes(path: Path, image_format: str) -> bytes:
    """Return the first bytes of the guest's disk, or none if they can't be found.

    :raises OSError: it can't be read
    """
    if image_format in ("raw", "qcow2"):
        with opened(path) as (read, _):
            start = read(0, _TABLE) if image_format == "raw" else qcow2.first_bytes(read, _TABLE)
        if start:
            return start
    return _converted(path, image_format)


def _converted(path: Path, image_format: str) -> bytes:
    """Return the first bytes of a disk that only QEMU can read."""
    program = process.find("qemu-img")
    if program is None:
        return b""
    output = os.memfd_create("sectors")
    try:
        process.run(
            (
                *(str(program), "dd", "-U", "-f", image_format, "-O", "raw"),
                *(f"bs={_SECTOR}", f"count={_TABLE // _SECTOR}"),
                *(f"if={path}", f"of=/proc/{os.getpid()}/fd/{output}"),
            )
        )
        return os.pread(output, _TABLE, 0)
    finally:
        os.close(output)


def is_empty(sector: bytes) -> bool:
    """Return whether the first sector of a GPT disk has no boot code."""
    return (
        sector[-2:] == _SIGNATURE
        and not sector[:_BOOT_CODE].strip(b"\0")
        and any(sector[start + 4] == _PROTECTIVE for start in _PARTITIONS)
    )


def may_boot(start: bytes) -> bool:
    """Return whether a GPT disk may have an EFI system partition.

    :param start: the disk's first bytes; without a complete table, the disk may have the partition
    """
    header = start[_SECTOR : _SECTOR + _HEADER]
    if len(header) < _HEADER or not header.startswith(_GPT):
        return True  # of a disk with sectors of 4 KiB, or a qcow2 image with tiny clusters
    (first,) = little_endian(header[_ENTRIES_AT:_COUNT_AT], "Q")
    count, size = little_endian(header[_COUNT_AT : _SIZE_AT + 4], "I")
    table = start[first * _SECTOR :][: count * size]
    if not size or len(table) < count * size:
        return True
    kinds = (table[place : place + 16] for place in range(0, len(table), size))
    return _SYSTEM_PARTITION in kinds
