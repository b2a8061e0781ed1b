"""ISO 9660 images whose bytes depend only on their content."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping

_SECTOR = 2048
_FIRST_DESCRIPTOR = 16
_TERMINATOR = 255
# 1 January 1980 UTC in both formats of the standard (ECMA-119 8.4.26.1 and 9.1.5).
_LONG_DATE = b"1980010100000000\0"
_SHORT_DATE = bytes((80, 1, 1, 0, 0, 0, 0))


def image(label: str, files: Mapping[str, bytes]) -> bytes:
    """Return an image with Joliet and Rock Ridge names: every kernel reads one of them.

    :param files: content by name; all files are in the top folder
    """
    from pycdlib import PyCdlib

    iso = PyCdlib()
    iso.new(interchange_level=3, vol_ident=label, joliet=3, rock_ridge="1.09")
    for number, (name, content) in enumerate(files.items()):
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            iso_path=f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=0o100444,
        )
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    finished = bytearray(out.getbuffer())
    _set_dates(finished)
    return bytes(finished)


def _set_dates(image: bytearray) -> None:
    """Replace the current time, which pycdlib writes into every date."""
    for descriptor in _descriptors(image):
        dates = slice(descriptor + 813, descriptor + 881)
        image[dates] = _LONG_DATE * 4
        root = descriptor + 156
        for record in (root, *_records(image, root)):
            image[record + 18 : record + 25] = _SHORT_DATE
            for stamp in _time_stamps(image, record):
                image[stamp : stamp + 7] = _SHORT_DATE


def _descriptors(image: bytearray) -> Iterator[int]:
    """Yield the offsets of the primary volume descriptor and Joliet's."""
    offset = _FIRST_DESCRIPTOR * _SECTOR
    while image[offset] != _TERMINATOR:
        yield offset
        offset += _SECTOR


def _records(image: bytearray, folder: int) -> Iterator[int]:
    """Yield the offsets of a folder's directory records (ECMA-119 9.1).

    :param folder: the offset of the record that describes the folder
    """
    extent, size = struct.unpack_from("<I4xI", image, folder + 2)
    offset = extent * _SECTOR
    end = offset + size
    while offset < end:
        if image[offset]:
            yield offset
            offset += image[offset]
        else:  # a record does not cross a sector
            offset += _SECTOR - offset % _SECTOR


def _time_stamps(image: bytearray, record: int) -> Iterator[int]:
    """Yield the offsets of the dates in a record's Rock Ridge entries (RRIP 4.1.6, short form)."""
    name = image[record + 32]
    offset = record + 33 + name + (1 - name % 2)
    end = record + image[record]
    while offset + 4 <= end and image[offset + 2]:
        if image[offset : offset + 2] == b"TF":
            yield from range(offset + 5, offset + image[offset + 2], 7)
        offset += image[offset + 2]
