"""Pack a document into few bytes that carry a version and a checksum. Pure functions."""

from __future__ import annotations

import struct
import zlib

_FORMAT = 1
_HEADER = struct.Struct(">BI")  # the format, and the CRC-32 of what follows
_MOST_BYTES = 1 << 22  # of a document, so that a forged one can't use up the memory


def pack(document: bytes) -> bytes:
    """Return the packed document."""
    compressed = zlib.compress(document)
    return _HEADER.pack(_FORMAT, zlib.crc32(compressed)) + compressed


def unpack(packed: bytes) -> bytes:
    """Return the document.

    :raises ValueError: it is damaged, incomplete, too long, or of another format
    """
    if len(packed) <= _HEADER.size:
        raise ValueError("it is incomplete")
    number, checksum = _HEADER.unpack_from(packed)
    compressed = packed[_HEADER.size :]
    if number != _FORMAT:
        raise ValueError(f"it has the format {number}, but this vmnet reads {_FORMAT}")
    if zlib.crc32(compressed) != checksum:
        raise ValueError("its checksum differs")
    reader = zlib.decompressobj()
    try:
        document = reader.decompress(compressed, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not reader.eof or reader.unused_data:
        raise ValueError("it is too long or incomplete")
    return document
