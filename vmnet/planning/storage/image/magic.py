"""Recognise formats by their marks. Pure functions.

QEMU's own probe reads only the first sector. This module knows every mark that QEMU knows, so an
image that it takes for raw is raw for QEMU, too.
"""

from __future__ import annotations

from typing import NamedTuple

SECTOR = 512
HEAD = 34 << 10  # bytes, including the volume descriptors of ISO 9660 and UDF (ECMA-119, ECMA-167)
TAIL = 2 * SECTOR
ISO = "iso"

_VOLUME = 32769  # offset of the first volume descriptor's identifier
_TAR = 257
# QEMU reads only version 1. LUKS 2 can only be a guest's own encryption of its raw disk.
_LUKS_1 = b"LUKS\xba\xbe\0\1"
_DECRYPTED = (
    "qemu-img convert --object secret,id=key,file=PASSPHRASE --image-opts "
    "driver=luks,file.filename={},key-secret=key -O qcow2 {}.qcow2"
)


class Content(NamedTuple):
    """A recognised format.

    :param format: QEMU's name; empty if QEMU has no driver
    :param title: the name in messages
    :param advice: the command that makes a disk image from the file, for which ``{}`` stands
    :param forgeable: a guest can write this mark to its raw disk despite QEMU's protection
    """

    format: str
    title: str
    advice: str = "qemu-img convert -f {format} -O qcow2 {} {}.qcow2"
    forgeable: bool = False


FIXED_VHD = Content("vpc", "a VHD image of fixed size", forgeable=True)
DESCRIPTOR = Content("vmdk", "the descriptor of a VMDK image of several files")

_Mark = tuple[int, bytes, Content]


def _packed(title: str, advice: str) -> Content:
    return Content("", title, advice, forgeable=True)


def _stream(title: str, program: str) -> Content:
    return _packed(f"{title} data", f"{program} -dc {{}} > {{}}.img")


_HEADS: tuple[_Mark, ...] = (
    (0, b"QFI\xfb\0\0\0\1", Content("qcow", "a qcow image of version 1")),
    (0, b"QFI\xfb", Content("qcow2", "a qcow2 image")),
    (0, b"QED\0", Content("qed", "a QED image")),
    (0, b"KDMV", Content("vmdk", "a VMDK image (VMware)")),
    (0, b"COWD", Content("vmdk", "a VMDK image of ESX")),
    (64, b"\x7f\x10\xda\xbe", Content("vdi", "a VDI image (VirtualBox)")),
    (0, b"conectix", Content("vpc", "a VHD image (Virtual PC, Azure)")),
    (0, b"vhdxfile", Content("vhdx", "a VHDX image (Hyper-V)")),
    (0, b"WithoutFreeSpace", Content("parallels", "a Parallels image")),
    (0, b"WithouFreSpacExt", Content("parallels", "a Parallels image")),
    (0, _LUKS_1, Content("luks", "encrypted by LUKS", _DECRYPTED)),
    (0, b"Bochs Virtual HD Image", Content("bochs", "a Bochs image")),
    (0, b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", Content("cloop", "a cloop image")),
    (0, b"\x1f\x8b\x08", _stream("gzip", "gzip")),
    (0, b"BZh", _stream("bzip2", "bzip2")),
    (0, b"\xfd7zXZ\0", _stream("xz", "xz")),
    (0, b"\x28\xb5\x2f\xfd", _stream("zstd", "zstd")),
    (0, b"\x04\x22\x4d\x18", _stream("lz4", "lz4")),
    (0, b"\x89LZO\0", _stream("lzop", "lzop")),
    (0, b"LZIP", _stream("lzip", "lzip")),
    (0, b"PK\3\4", _packed("a zip archive", "unzip {}")),
    (0, b"7z\xbc\xaf\x27\x1c", _packed("a 7z archive", "7z x {}")),
    (0, b"Rar!\x1a\x07", _packed("a rar archive", "unrar x {}")),
    (_TAR, b"ustar", _packed("a tar archive, as an OVA is", "tar -xf {}")),
    (0, b"\x3a\xff\x26\xed", _packed("an Android sparse image", "simg2img {} {}.img")),
    (0, b"VMA\0", _packed("a Proxmox backup", "vma extract {} {}.d")),
    (_VOLUME, b"CD001", Content(ISO, "an ISO 9660 image", forgeable=True)),
    (_VOLUME, b"BEA01", Content(ISO, "a UDF image", forgeable=True)),
)
# The first number is the distance from the end in bytes.
_TAILS: tuple[_Mark, ...] = (
    (SECTOR, b"conectix", FIXED_VHD),
    (SECTOR, b"koly", Content("dmg", "a DMG image (Apple)", forgeable=True)),
)


def recognise(head: bytes, tail: bytes) -> Content | None:
    """Return the format; None if it is unknown, as a raw disk's is.

    :param head: the first :data:`HEAD` bytes, fewer if the file is shorter
    :param tail: the last :data:`TAIL` bytes, fewer if the file is shorter
    """
    for offset, mark, content in _HEADS:
        if head.startswith(mark, offset):
            return content
    if _is_descriptor(head[:SECTOR]):
        return DESCRIPTOR
    for distance, mark, content in _TAILS:
        if tail[-distance:].startswith(mark):
            return content
    return None


def _is_descriptor(sector: bytes) -> bool:
    """Return whether this is a descriptor of VMware's Virtual Disk Format 5.0.

    A descriptor is a text. Only comments precede its version.
    """
    lines = (line.strip() for line in sector.split(b"\n"))
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    return first.startswith(b"version=")
