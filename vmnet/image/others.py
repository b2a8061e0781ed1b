"""Image formats that QEMU serves besides qcow2 and raw: what their headers say that matters here.

Pure, as :mod:`vmnet.image.qcow2` is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from vmnet.image.reading import Read, big_endian, little_endian

_SECTOR = 512
_MOST_ENTRIES = 1 << 22  # of a VHD's table: 2 TiB in blocks of 512 KiB; VMDK has 32 times as many
_QED_CLUSTERS = [1 << bits for bits in range(12, 27)]
_DESCRIPTOR, _PARENT = 20, b"parentFileNameHint"  # of a VMDK: sectors that QEMU reads, and its word
_NONSENSE = "its header makes no sense"


class Facts(NamedTuple):
    """About an image.

    :param fault: what does not hold; empty if nothing is known to be wrong
    :param refers: it is a part only, and names other files or is named by them
    :param unwritable: why QEMU can't be trusted to write it; empty if it can
    """

    fault: str = ""
    refers: bool = False
    unwritable: str = ""


def facts(image_format: str, read: Read, length: int) -> Facts:
    """The facts of an image.

    :param image_format: QEMU's name for it
    :param length: of the file, in bytes
    """
    return _FORMATS.get(image_format, _nothing)(read, length)


def _nothing(_read: Read, _length: int) -> Facts:
    return Facts()


def _cut(end: int, length: int) -> str:
    return f"it is cut short: it takes {end} bytes, the file has {length}" if end > length else ""


def _qcow(read: Read, length: int) -> Facts:
    """QEMU's block/qcow.c: version 1."""
    content = read(0, 48)
    if len(content) < 48:
        return Facts(_cut(48, length))
    backing, size, cluster_bits, l2_bits, encryption, l1 = struct.unpack(">8xQ8xQBB2xIQ", content)
    if encryption:
        return Facts("it is encrypted, and vmnet has no key for it")
    if cluster_bits not in range(9, 17) or l2_bits not in range(6, 14) or size > 1 << 50:
        return Facts(_NONSENSE)
    # What this table names may lie behind the end, if QEMU was killed.
    entries = -(-size >> (cluster_bits + l2_bits))
    return Facts(_cut(l1 + 8 * entries, length), refers=bool(backing))


def _parallels(_read: Read, _length: int) -> Facts:
    """QEMU marks it as open, and QEMU 9 and older take that for damage when they were killed."""
    return Facts(unwritable="which QEMU may not open again once it was killed")


def _qed(read: Read, length: int) -> Facts:
    """QEMU's docs/interop/qed_spec."""
    content = read(0, 48)
    if len(content) < 48:
        return Facts(_cut(48, length))
    cluster, table, features, l1 = struct.unpack("<4xII4xQ16xQ", content)
    if cluster not in _QED_CLUSTERS or not 0 < table <= 16:
        return Facts(_NONSENSE)
    tables = little_endian(read(l1, cluster * table), "Q")
    named = (
        entry
        for offset in tables
        if offset
        for entry in (offset, *little_endian(read(offset, cluster * table), "Q"))
    )
    return Facts(
        _cut(max(l1 + cluster * table, max(named, default=0)), length), refers=bool(features & 1)
    )


def _vdi(read: Read, length: int) -> Facts:
    """VirtualBox's: a map of blocks, then the blocks that are there."""
    content = read(0, 0x188)
    if len(content) < 0x188:
        return Facts(_cut(0x188, length))
    (kind,) = struct.unpack_from("<I", content, 0x4C)
    (start,) = struct.unpack_from("<I", content, 0x158)
    block, extra, _, used = struct.unpack_from("<IIII", content, 0x178)
    return Facts(_cut(start + used * (block + extra), length), refers=kind not in (1, 2))


def _vhd(read: Read, length: int) -> Facts:
    """Microsoft's Virtual Hard Disk Image Format Specification, 1.0."""
    footer = read(0, _SECTOR)
    if not footer.startswith(b"conectix"):
        footer = read(max(length - _SECTOR, 0), _SECTOR)
    if len(footer) < _SECTOR:
        return Facts(_cut(_SECTOR, length))
    (start,) = struct.unpack_from(">Q", footer, 16)
    (size,) = struct.unpack_from(">Q", footer, 48)
    (kind,) = struct.unpack_from(">I", footer, 60)
    if kind == 2:
        return Facts(_cut(size + _SECTOR, length))
    sparse = read(start, 36)
    if len(sparse) < 36:
        return Facts(_cut(start + 36, length), refers=kind == 4)
    table, entries, block = struct.unpack(">16xQ4xII", sparse)
    if not block or entries > _MOST_ENTRIES:
        return Facts(_NONSENSE)
    used = [entry for entry in big_endian(read(table, 4 * entries), "I") if entry != 0xFFFF_FFFF]
    bitmap = -(-block // (8 * _SECTOR) // _SECTOR) * _SECTOR
    last = max(used, default=0) * _SECTOR + bitmap + block if used else 0
    return Facts(_cut(max(last, table + 4 * entries), length), refers=kind == 4)


def _vmdk(read: Read, length: int) -> Facts:
    """VMware's Virtual Disk Format 5.0: a sparse extent with its descriptor in it."""
    content = read(0, _SECTOR)
    if content.startswith(b"COWD"):
        return Facts(refers=True)  # of ESX, where the descriptor is always a file of its own
    if len(content) < _SECTOR:
        return Facts(_cut(_SECTOR, length))
    flags, capacity = struct.unpack_from("<IQ", content, 8)
    place, size = struct.unpack_from("<QQ", content, 28)
    directory, overhead = struct.unpack_from("<QQ", content, 56)
    text = read(place * _SECTOR, min(size, _DESCRIPTOR) * _SECTOR) if place else b""
    # QEMU looks for a parent there, wherever the header has the descriptor.
    has_parent = _PARENT in text + read(_SECTOR, _DESCRIPTOR * _SECTOR)
    return Facts(
        _of_grains(read, length, directory, capacity, content) or _cut(overhead * _SECTOR, length),
        refers=not capacity or has_parent or _is_part(text),
        unwritable="compressed, which QEMU can only read" if flags & 1 << 16 else "",
    )


def _is_part(descriptor: bytes) -> bool:
    """Whether a disk consists of several files."""
    extents = re.findall(rb"^\s*(?:RW|RDONLY|NOACCESS)\s", descriptor, re.MULTILINE)
    return len(extents) != 1


def _of_grains(read: Read, length: int, directory: int, capacity: int, header: bytes) -> str:
    """Whether the last grain is there; of a stream, whether its footer is."""
    if directory == 0xFFFF_FFFF_FFFF_FFFF:
        footer = read(max(length - 2 * _SECTOR, 0), 4)
        return "" if footer == b"KDMV" else "it is cut short: its footer is not at its end"
    (grain,) = struct.unpack_from("<Q", header, 20)
    (in_table,) = struct.unpack_from("<I", header, 44)
    tables = -(-capacity // (grain * in_table or 1))
    if not grain or not in_table or tables * in_table > _MOST_ENTRIES << 5:
        return _NONSENSE
    size = 4 * in_table
    placed = [one for one in little_endian(read(directory * _SECTOR, 4 * tables), "I") if one]
    start, end = min(placed, default=0) * _SECTOR, max(placed, default=0) * _SECTOR + size
    if end - start == len(placed) * size:  # one behind the other, as programs lay them
        last = _largest(read(start, end - start))
    else:
        last = max((_largest(read(one * _SECTOR, size)) for one in placed), default=0)
    return _cut(max(end, (last + 1) * _SECTOR), length)


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
