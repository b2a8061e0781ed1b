"""Formats by their marks. A pure function: the same bytes are of the same format.

QEMU's own probe looks at the first sector alone. Each mark that it knows is here, so an image that
passes for raw here is raw for QEMU.
"""

from __future__ import annotations

from typing import NamedTuple

SECTOR = 512
HEAD = 34 << 10  # bytes: up to the volume descriptors of ISO 9660 and UDF (ECMA-119, ECMA-167)
TAIL = 2 * SECTOR
ISO = "iso"

_VOLUME = 32769  # the identifier of the first volume descriptor
_TAR = 257
_LUKS_1 = b"LUKS\xba\xbe\0\1"  # QEMU reads version 1 alone; a version 2 can only be a guest's own
_DECRYPTED = (
    "qemu-img convert --object secret,id=key,file=PASSPHRASE --image-opts "
    "driver=luks,file.filename={},key-secret=key -O qcow2 {}.qcow2"
)


class Content(NamedTuple):
    """A format that was recognised.

    :param format: QEMU's name for it; empty where QEMU has no driver
    :param title: for people
    :param advice: the command that makes an image of it, where ``{}`` is the file
    :param guests: a guest can write this mark to its raw disk past QEMU's protection
    """

    format: str
    title: str
    advice: str = "qemu-img convert -f {format} -O qcow2 {} {}.qcow2"
    guests: bool = False


FIXED_VHD = Content("vpc", "a VHD image of fixed size", guests=True)
DESCRIPTOR = Content("vmdk", "the descriptor of a VMDK image of several files")

_Mark = tuple[int, bytes, Content]


def _packed(title: str, advice: str) -> Content:
    return Content("", title, advice, guests=True)


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
    (_VOLUME, b"CD001", Content(ISO, "an ISO 9660 image", guests=True)),
    (_VOLUME, b"BEA01", Content(ISO, "a UDF image", guests=True)),
)
# By their distance from the end.
_TAILS: tuple[_Mark, ...] = (
    (SECTOR, b"conectix", FIXED_VHD),
    (SECTOR, b"koly", Content("dmg", "a DMG image (Apple)", guests=True)),
)


def recognise(head: bytes, tail: bytes) -> Content | None:
    """The format; None if nothing is known, as of a raw disk.

    :param head: the first :data:`HEAD` bytes, or all
    :param tail: the last :data:`TAIL` bytes, or all
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
    """VMware's Virtual Disk Format 5.0: text, in which only comments precede the version."""
    lines = (line.strip() for line in sector.split(b"\n"))
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    return first.startswith(b"version=")
