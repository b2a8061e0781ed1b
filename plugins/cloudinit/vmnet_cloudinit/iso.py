"""ISO 9660 images whose bytes depend on nothing but their content."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping

_SECTOR = 2048
_FIRST_DESCRIPTOR = 16
_TERMINATOR = 255
# 1 January 1980, UTC, in both of the standard's forms (ECMA-119 8.4.26.1 and 9.1.5).
_LONG_DATE = b"1980010100000000\0"
_SHORT_DATE = bytes((80, 1, 1, 0, 0, 0, 0))


def image(label: str, files: Mapping[str, bytes]) -> bytes:
    """An image with Joliet and Rock Ridge names, for every kernel reads one of them.

    :param files: content by name; all of them in the top folder
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
    made = bytearray(out.getbuffer())
    _set_dates(made)
    return bytes(made)


def _set_dates(made: bytearray) -> None:
    """Replace the time of day, which pycdlib puts into every date."""
    for descriptor in _descriptors(made):
        dates = slice(descriptor + 813, descriptor + 881)
        made[dates] = _LONG_DATE * 4
        root = descriptor + 156
        for record in (root, *_records(made, root)):
            made[record + 18 : record + 25] = _SHORT_DATE
            for stamp in _time_stamps(made, record):
                made[stamp : stamp + 7] = _SHORT_DATE


def _descriptors(made: bytearray) -> Iterator[int]:
    """Offsets of the volume descriptors: the primary one, and Joliet's."""
    at = _FIRST_DESCRIPTOR * _SECTOR
    while made[at] != _TERMINATOR:
        yield at
        at += _SECTOR


def _records(made: bytearray, folder: int) -> Iterator[int]:
    """Offsets of the directory records in a folder that a record describes (ECMA-119 9.1)."""
    extent, size = struct.unpack_from("<I4xI", made, folder + 2)
    at = extent * _SECTOR
    end = at + size
    while at < end:
        if made[at]:
            yield at
            at += made[at]
        else:  # no record crosses a sector
            at += _SECTOR - at % _SECTOR


def _time_stamps(made: bytearray, record: int) -> Iterator[int]:
    """Offsets of the dates in a record's Rock Ridge entries (RRIP 4.1.6, all in short form)."""
    name = made[record + 32]
    at = record + 33 + name + (1 - name % 2)
    end = record + made[record]
    while at + 4 <= end and made[at + 2]:
        if made[at : at + 2] == b"TF":
            yield from range(at + 5, at + made[at + 2], 7)
        at += made[at + 2]
