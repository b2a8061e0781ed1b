"""Check the header, tables and length of a qcow2 image (QEMU's docs/interop/qcow2).

Pure functions: they get bytes from ``read`` and compare numbers. They read the tables that QEMU
reads when it opens the image. They check the clusters that these tables name only if the end of
the file may be missing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from vmnet.planning.storage.image.reading import Read, big_endian

_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_CLUSTER_BITS = range(9, 22)
_MAX_L1, _MAX_REFCOUNT_TABLE = 32 << 20, 8 << 20  # bytes: QEMU's limits
_MAX_REFCOUNT_ORDER = 6
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _WIDE_L2 = 1 << 0, 1 << 1, 1 << 2, 1 << 4
_FEATURES = 0x1F
_OFFSET = 0x00FF_FFFF_FFFF_FE00  # the bits of an L1 or L2 entry that are its offset
_COMPRESSED = 1 << 62
BACKING_FORMAT, DATA_FILE = 0xE2792ACA, 0x44415441  # types of header extensions


class Header(NamedTuple):
    """The header fields that the checks need; offsets and sizes in bytes."""

    version: int
    backing: int
    backing_size: int
    cluster_bits: int
    size: int
    encryption: int
    l1: int
    l1_entries: int
    refcounts: int
    refcount_clusters: int
    snapshots: int
    snapshot_count: int
    features: int
    refcount_order: int
    length: int

    @property
    def cluster(self) -> int:
        return 1 << self.cluster_bits

    @property
    def refers(self) -> bool:
        """Whether the image names another file: a backing file or a data file."""
        return bool(self.backing) or self.data_is_apart

    @property
    def data_is_apart(self) -> bool:
        return bool(self.features & _EXTERNAL_DATA)


def header(read: Read) -> Header | None:
    """Return the header; None if the file is shorter."""
    content = read(0, _V2.size + _V3.size)
    if len(content) < _V2.size:
        return None
    _, version, backing, backing_size, bits, size, encryption, l1_entries, l1, *rest = _V2.unpack(
        content[: _V2.size]
    )
    refcounts, refcount_clusters, snapshot_count, snapshots = rest
    features, order, length = 0, 4, _V2.size
    if version >= 3:
        if len(content) < _V2.size + _V3.size:
            return None
        features, _, _, order, length = _V3.unpack(content[_V2.size :])
    return Header(
        version=version,
        backing=backing,
        backing_size=backing_size,
        cluster_bits=bits,
        size=size,
        encryption=encryption,
        l1=l1,
        l1_entries=l1_entries,
        refcounts=refcounts,
        refcount_clusters=refcount_clusters,
        snapshots=snapshots,
        snapshot_count=snapshot_count,
        features=features,
        refcount_order=order,
        length=length,
    )


def fault(read: Read, length: int) -> str:
    """Return what is wrong with the image; empty if no fault was found.

    :param length: the length of the file in bytes
    """
    found = header(read)
    if found is None:
        return f"it is truncated: {length} bytes are too few for its header"
    return (
        _header_fault(found)
        or _table_fault(found, read, length)
        or _truncation(found, read, length)
    )


def _header_fault(found: Header) -> str:
    if found.version not in (2, 3):
        return f"its version is {found.version}, QEMU supports 2 and 3"
    if found.cluster_bits not in _CLUSTER_BITS:
        return f"its cluster size of 2^{found.cluster_bits} bytes is invalid"
    if found.version == 3 and not _V2.size + _V3.size <= found.length <= found.cluster:
        return f"its header size of {found.length} bytes is invalid"
    if found.refcount_order > _MAX_REFCOUNT_ORDER:
        return f"its refcount width of 2^{found.refcount_order} bits is invalid"
    if found.features & _CORRUPT:
        return "QEMU has marked it corrupt"
    if found.features & ~_FEATURES:
        return f"it uses unknown features: {found.features & ~_FEATURES:#x}"
    if found.encryption:
        return "it is encrypted, and vmnet has no key for it"
    if found.l1_entries * 8 > _MAX_L1:
        return f"its L1 table of {found.l1_entries} entries is too large"
    if found.l1_entries < _l1_entries(found):
        return f"its L1 table of {found.l1_entries} entries is too small for {found.size} bytes"
    if not 0 < found.refcount_clusters << found.cluster_bits <= _MAX_REFCOUNT_TABLE:
        return f"its refcount table size of {found.refcount_clusters} clusters is invalid"
    if found.backing > found.cluster or found.backing_size > 1023:
        return "the name of its backing file is outside the header"
    return ""


def _l1_entries(found: Header) -> int:
    """Return how many L2 tables the disk needs."""
    wide = bool(found.features & _WIDE_L2)
    covered = found.cluster_bits + found.cluster_bits - (4 if wide else 3)
    return -(-found.size >> covered)


def _table_fault(found: Header, read: Read, length: int) -> str:
    """Return the fault if a table is outside the file or at an invalid offset."""
    tables = (
        ("L1 table", found.l1, found.l1_entries * 8),
        ("refcount table", found.refcounts, found.refcount_clusters << found.cluster_bits),
        ("snapshot table", found.snapshots, found.snapshot_count),
    )
    for name, offset, size in tables:
        if size and (problem := _misplaced(found, offset)):
            return f"its {name} {problem}"
        if size and offset + size > length:
            return f"it is truncated: its {name} ends at {offset + size}, the file at {length}"
    named = (
        ("an L2 table", _l2_tables(found, read)),
        ("a refcount block", _refcount_blocks(found, read)),
    )
    for name, offsets in named:
        for offset in offsets:
            if problem := _misplaced(found, offset):
                return f"{name} {problem}"
            if offset + found.cluster > length:
                return f"it is truncated: {name} starts at {offset}, the file ends at {length}"
    return ""


def _misplaced(found: Header, offset: int) -> str:
    if not offset:
        return "overlaps the header"
    return f"has an invalid offset: {offset:#x}" if offset % found.cluster else ""


def _end_of_last_cluster(found: Header, length: int) -> int:
    return -(-length // found.cluster) * found.cluster


def _l2_tables(found: Header, read: Read) -> Iterator[int]:
    entries = big_endian(read(found.l1, found.l1_entries * 8), "Q")
    return (entry & _OFFSET for entry in entries if entry & _OFFSET)


def _refcount_blocks(found: Header, read: Read) -> Iterator[int]:
    """Yield the offsets of the refcount blocks."""
    entries = big_endian(read(found.refcounts, found.refcount_clusters << found.cluster_bits), "Q")
    return (entry & ~0x1FF for entry in entries if entry & ~0x1FF)


def _truncation(found: Header, read: Read, length: int) -> str:
    """Return the fault if a cluster of the guest's disk lies past the end of the file.

    Part of the last cluster may be missing, which `qemu-img check` accepts as well. The refcounts
    may count a cluster past the end that no table names: QEMU was killed after it allocated the
    cluster, and before it used it.
    """
    if found.data_is_apart or not (
        found.features & _DIRTY or _has_refcounts_past_end(found, read, length)
    ):
        return ""
    for table in _l2_tables(found, read):
        for offset in _clusters(found, read(table, found.cluster)):
            if offset >= _end_of_last_cluster(found, length):
                return f"it is truncated: its data continues at {offset}, the file ends at {length}"
    return ""


def _has_refcounts_past_end(found: Header, read: Read, length: int) -> bool:
    """Return whether the refcounts count a cluster past the end of the file as used."""
    clusters = -(-length // found.cluster)
    in_block = (found.cluster << 3) >> found.refcount_order
    entries = big_endian(read(found.refcounts, found.refcount_clusters << found.cluster_bits), "Q")
    first, within = divmod(clusters, in_block)
    skipped = (within << found.refcount_order) >> 3
    for number, entry in enumerate(entries[first:]):
        block = read(entry & ~0x1FF, found.cluster) if entry else b""
        if block[0 if number else skipped :].strip(b"\0"):
            return True
    return False


def _clusters(found: Header, table: bytes) -> Iterator[int]:
    """Yield the offsets of the clusters that an L2 table names."""
    wide = bool(found.features & _WIDE_L2)
    compressed = (1 << (62 - (found.cluster_bits - 8))) - 1
    for entry in big_endian(table, "Q")[:: 2 if wide else 1]:
        if entry & _COMPRESSED:
            yield entry & compressed
        elif entry & _OFFSET:
            yield entry & _OFFSET


def first_bytes(read: Read, size: int) -> bytes:
    """Return the first bytes of the guest's disk; empty if no cluster of this file has them.

    :param size: of the first cluster, no more is returned
    """
    found = header(read)
    if found is None or found.data_is_apart:
        return b""
    size = min(size, found.cluster)
    table = _first_entry(read, found.l1) & _OFFSET
    entry = _first_entry(read, table) if table else 0
    if entry & _COMPRESSED:
        bits = 62 - (found.cluster_bits - 8)
        sectors = ((entry & _COMPRESSED - 1) >> bits) + 1
        return _inflated(read(entry & (1 << bits) - 1, sectors * 512), size)
    return read(entry & _OFFSET, size) if entry & _OFFSET else b""


def _first_entry(read: Read, table: int) -> int:
    return next(iter(big_endian(read(table, 8), "Q")), 0)


def _inflated(content: bytes, size: int) -> bytes:
    """Return the first bytes of a cluster, unless it is compressed by zstd."""
    import zlib

    try:
        return zlib.decompressobj(-12).decompress(content, size)
    except zlib.error:
        return b""


def names(read: Read, found: Header) -> tuple[str, str, str]:
    """Return the backing file, its format, and the data file; each empty if there is none.

    Relative names are relative to the folder of the image, as for QEMU.
    """
    backing = read(found.backing, found.backing_size) if found.backing else b""
    extensions = dict(_extensions(read(found.length, found.cluster)))
    backing_format = extensions.get(BACKING_FORMAT, b"")
    data = extensions.get(DATA_FILE, b"") if found.data_is_apart else b""
    decode = ("utf-8", "surrogateescape")
    return backing.decode(*decode), backing_format.decode(*decode), data.decode(*decode)


def _extensions(content: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 8 <= len(content):
        kind, size = struct.unpack_from(">II", content, place)
        if not kind:
            return
        yield kind, content[place + 8 : place + 8 + size]
        place += 8 + -(-size // 8) * 8
