"""Tell a disk image's format without trusting what a guest may have written into it.

A guest owns every byte of a raw disk. It can write a qcow2 header there that names a file of the
container as its backing file, and read that file after the next start if the format were probed
blindly. So a qcow2 header is believed only if it refers to no other file.
"""

from __future__ import annotations

import struct
from pathlib import Path

from vmnet.errors import MachineError

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQI52xQ")  # magic, version, backing file's offset and size, features
_EXTERNAL_DATA_FILE = 1 << 2  # QEMU's docs/interop/qcow2, incompatible features


def disk_format(path: Path, wish: str) -> str:
    """``qcow2`` or ``raw``.

    :param wish: VMNET_DISK_FORMAT: a format, or ``auto`` to look
    :raises MachineError: the image refers to other files, and ``wish`` does not say it may
    """
    if wish != "auto":
        return wish
    header = _header(path)
    if not header.startswith(_MAGIC):
        return "raw"
    if _refers(header):
        raise MachineError(
            f"VMNET_DISK={path} is a qcow2 image that refers to another file",
            "set VMNET_DISK_FORMAT=qcow2 if you made it so yourself, and mount that file too",
        )
    return "qcow2"


def refers_elsewhere(path: Path) -> bool:
    """Whether what lies there, read as a qcow2 image, has a backing file or keeps its data apart.

    :raises OSError: it can't be read
    """
    header = _header(path)
    return header.startswith(_MAGIC) and _refers(header)


def _header(path: Path) -> bytes:
    with path.open("rb") as image:
        return image.read(_HEADER.size).ljust(_HEADER.size, b"\0")


def _refers(header: bytes) -> bool:
    _, version, backing_offset, _, features = _HEADER.unpack(header)
    return bool(backing_offset or (version >= 3 and features & _EXTERNAL_DATA_FILE))
