"""Recognise a disk that only UEFI firmware can boot."""

from __future__ import annotations

from pathlib import Path

from vmnet.planning.image import qcow2
from vmnet.planning.image.reading import opened

_SECTOR = 512
_SIGNATURE = b"\x55\xaa"
_BOOT_CODE = 440  # bytes of the BIOS's boot code (UEFI specification, section 5.2.1)
_PARTITIONS = range(446, 510, 16)
_PROTECTIVE = 0xEE  # type of the partition that covers a GPT disk (section 5.2.3)


def needs_uefi(path: Path, image_format: str) -> bool:
    """Return whether a BIOS would run an empty boot sector, and hang.

    :param image_format: qcow2 or raw; False for other formats, and for a disk that can't be read,
        which QEMU reports
    """
    try:
        with opened(path) as (read, _):
            if image_format == "qcow2":
                return is_empty(qcow2.first_bytes(read, _SECTOR))
            return image_format == "raw" and is_empty(read(0, _SECTOR))
    except OSError:
        return False


def is_empty(sector: bytes) -> bool:
    """Return whether the first sector of a GPT disk has no boot code."""
    return (
        sector[-2:] == _SIGNATURE
        and not sector[:_BOOT_CODE].strip(b"\0")
        and any(sector[start + 4] == _PROTECTIVE for start in _PARTITIONS)
    )
