"""Read the headers of the image formats that QEMU serves in addition to qcow2 and raw.

Pure functions, as in :mod:`vmnet.planning.storage.image.qcow2`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from vmnet.planning.storage.image.reading import Read, big_endian, little_endian

_SECTOR = 512
# Entries of a VHD's table: 2 TiB in blocks of 512 KiB. A VMDK can have 32 times as many.
_MAX_ENTRIES = 1 << 22
_QED_CLUSTERS = [1 << bits for bits in range(12, 27)]
# For a VMDK, the sectors of its descriptor that QEMU reads, and the key of its parent.
_DESCRIPTOR, _PARENT = 20, b"parentFileNameHint"
_INVALID = "its header is invalid"


class Facts(NamedTuple):
    """Facts about an image.

    :param fault: what is wrong with the image; empty if no fault was found
    :param refers: the image is only a part of a disk: it names other files, or they name it
    :param unwritable: why QEMU can't be trusted to write the image; empty if it can
    """

    fault: str = ""
    refers: bool = False
    unwritable: str = ""


def facts(image_format: str, read: Read, length: int) -> Facts:
    """Return the facts about an image.

    :param image_format: QEMU's name
    :param length: the length of the file in bytes
    """
    return _FORMATS.get(image_format, _no_facts)(read, length)


def _no_facts(_read: Read, _length: int) -> Facts:
    return Facts()


def _truncation(end: int, length: int) -> str:
    return f"it is truncated: it needs {end} bytes, the file has {length}" if end > length else ""


def _qcow(read: Read, length: int) -> Facts:
    """Read the header of a qcow image, version 1 (QEMU's block/qcow.c)."""
    content = read(0, 48)
    if len(content) < 48:
        return Facts(_truncation(48, length))
    backing, size, cluster_bits, l2_bits, encryption, l1 = struct.unpack(">8xQ8xQBB2xIQ", content)
    if encryption:
        return Facts("it is encrypted, and vmnet has no key for it")
    if cluster_bits not in range(9, 17) or l2_bits not in range(6, 14) or size > 1 << 50:
        return Facts(_INVALID)
    # If QEMU was killed, the entries of this table may point past the end of the file.
    entries = -(-size >> (cluster_bits + l2_bits))
    return Facts(_truncation(l1 + 8 * entries, length), refers=bool(backing))


def _parallels(_read: Read, _length: int) -> Facts:
    """Refuse writes: QEMU marks an open image, and QEMU 9 and older take a stale mark for damage.

    A stale mark remains when QEMU is killed.
    """
    return Facts(unwritable="if QEMU is killed, it may refuse to open the image again")


def _qed(read: Read, length: int) -> Facts:
    """Read the header and tables of a QED image (QEMU's docs/interop/qed_spec)."""
    content = read(0, 48)
    if len(content) < 48:
        return Facts(_truncation(48, length))
    cluster, table, features, l1 = struct.unpack("<4xII4xQ16xQ", content)
    if cluster not in _QED_CLUSTERS or not 0 < table <= 16:
        return Facts(_INVALID)
    tables = little_endian(read(l1, cluster * table), "Q")
    named = (
        entry
        for offset in tables
        if offset
        for entry in (offset, *little_endian(read(offset, cluster * table), "Q"))
    )
    return Facts(
        _truncation(max(l1 + cluster * table, max(named, default=0)), length),
        refers=bool(features & 1),
    )


def _vdi(read: Read, length: int) -> Facts:
    """Read VirtualBox's header: a map of blocks follows, then the allocated blocks."""
    content = read(0, 0x188)
    if len(content) < 0x188:
        return Facts(_truncation(0x188, length))
    (kind,) = struct.unpack_from("<I", content, 0x4C)
    (start,) = struct.unpack_from("<I", content, 0x158)
    block, extra, _, used = struct.unpack_from("<IIII", content, 0x178)
    return Facts(_truncation(start + used * (block + extra), length), refers=kind not in (1, 2))


def _vhd(read: Read, length: int) -> Facts:
    """Read a VHD's footer and table (Microsoft's Virtual Hard Disk Image Format Specification 1.0).

    A dynamic VHD starts with a copy of its footer.
    """
    footer = read(0, _SECTOR)
    if not footer.startswith(b"conectix"):
        footer = read(max(length - _SECTOR, 0), _SECTOR)
    if len(footer) < _SECTOR:
        return Facts(_truncation(_SECTOR, length))
    (start,) = struct.unpack_from(">Q", footer, 16)
    (size,) = struct.unpack_from(">Q", footer, 48)
    (kind,) = struct.unpack_from(">I", footer, 60)
    if kind == 2:
        return Facts(_truncation(size + _SECTOR, length))
    sparse = read(start, 36)
    if len(sparse) < 36:
        return Facts(_truncation(start + 36, length), refers=kind == 4)
    table, entries, block = struct.unpack(">16xQ4xII", sparse)
    if not block or entries > _MAX_ENTRIES:
        return Facts(_INVALID)
    used = [entry for entry in big_endian(read(table, 4 * entries), "I") if entry != 0xFFFF_FFFF]
    bitmap = -(-block // (8 * _SECTOR) // _SECTOR) * _SECTOR
    last = max(used, default=0) * _SECTOR + bitmap + block if used else 0
    return Facts(_truncation(max(last, table + 4 * entries), length), refers=kind == 4)


def _vmdk(read: Read, length: int) -> Facts:
    """Read a sparse extent with an embedded descriptor (VMware's Virtual Disk Format 5.0)."""
    content = read(0, _SECTOR)
    if content.startswith(b"COWD"):
        return Facts(refers=True)  # on ESX the descriptor is always a separate file
    if len(content) < _SECTOR:
        return Facts(_truncation(_SECTOR, length))
    flags, capacity = struct.unpack_from("<IQ", content, 8)
    place, size = struct.unpack_from("<QQ", content, 28)
    directory, overhead = struct.unpack_from("<QQ", content, 56)
    text = read(place * _SECTOR, min(size, _DESCRIPTOR) * _SECTOR) if place else b""
    # QEMU looks for a parent there, even if the header places the descriptor elsewhere.
    has_parent = _PARENT in text + read(_SECTOR, _DESCRIPTOR * _SECTOR)
    return Facts(
        _grain_fault(read, length, directory, capacity, content)
        or _truncation(overhead * _SECTOR, length),
        refers=not capacity or has_parent or _is_part(text),
        unwritable="it is compressed, so QEMU can only read it" if flags & 1 << 16 else "",
    )


def _is_part(descriptor: bytes) -> bool:
    """Return whether the disk consists of several files."""
    extents = re.findall(rb"^\s*(?:RW|RDONLY|NOACCESS)\s", descriptor, re.MULTILINE)
    return len(extents) != 1


def _grain_fault(read: Read, length: int, directory: int, capacity: int, header: bytes) -> str:
    """Return the fault if the last grain is missing, or the footer of a stream-optimised image."""
    if directory == 0xFFFF_FFFF_FFFF_FFFF:
        footer = read(max(length - 2 * _SECTOR, 0), 4)
        return "" if footer == b"KDMV" else "it is truncated: its footer is missing"
    (grain,) = struct.unpack_from("<Q", header, 20)
    (in_table,) = struct.unpack_from("<I", header, 44)
    tables = -(-capacity // (grain * in_table or 1))
    if not grain or not in_table or tables * in_table > _MAX_ENTRIES << 5:
        return _INVALID
    size = 4 * in_table
    sectors = [
        sector for sector in little_endian(read(directory * _SECTOR, 4 * tables), "I") if sector
    ]
    start, end = min(sectors, default=0) * _SECTOR, max(sectors, default=0) * _SECTOR + size
    if end - start == len(sectors) * size:  # programs usually write contiguous tables
        last = _largest(read(start, end - start))
    else:
        last = max((_largest(read(sector * _SECTOR, size)) for sector in sectors), default=0)
    return _truncation(max(end, (last + 1) * _SECTOR), length)


def _largest(table: bytes) -> int:
    return max(little_endian(table, "I")) if table.strip(b"\0") else 0


_FORMATS: dict[str, Callable[[Read, int], Facts]] = {
    "parallels": _parallels,
    "qcow": _qcow,
    "qed": _qed,
    "vdi": _vdi,
    "vpc": _vhd,
    "vmdk": _vmdk,
}
