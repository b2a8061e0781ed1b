"""Disk images from qemu-img, files that users mistake for images, and marks that a guest wrote."""

from __future__ import annotations

import os
import random
import re
import signal
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from vmnet.errors import MachineError
from vmnet.planning.image import choose
from vmnet.planning.image.choose import Choice

MIB = 1 << 20


def qemu_img(*words: str | Path) -> str:
    command = ("qemu-img", *map(str, words))
    return subprocess.run(
        command, check=True, timeout=WAIT, stdout=subprocess.PIPE, text=True
    ).stdout


def create(path: Path, *arguments: str) -> Path:
    qemu_img("create", "-q", *arguments[:-1], path, arguments[-1])
    return path


def converted(path: Path, *arguments: str, size: int = 8 * MIB) -> Path:
    """Make an image of random data, so that all clusters are allocated."""
    source = path.with_name("source")
    source.write_bytes(random.Random(1).randbytes(size))
    qemu_img("convert", "-f", "raw", *arguments, source, path)
    source.unlink()
    return path


def truncate(path: Path, size: int) -> Path:
    os.truncate(path, size)
    return path


def refused(path: Path, requested: str = "auto", *, ephemeral: bool = False) -> MachineError:
    with pytest.raises(MachineError) as caught:
        choose.disk(path, requested, ephemeral=ephemeral)
    return caught.value


QCOW2 = [
    (),
    ("-o", "compat=0.10"),
    ("-o", "lazy_refcounts=on"),
    ("-o", "cluster_size=512"),
    ("-o", "cluster_size=2M"),
    ("-o", "refcount_bits=1"),
    ("-o", "extended_l2=on,cluster_size=128k"),
    ("-o", "preallocation=metadata"),
    ("-o", "compression_type=zstd"),
]


@pytest.mark.parametrize("options", QCOW2, ids=" ".join)
def test_a_qcow2_image(options: tuple[str, ...], tmp_path: Path) -> None:
    for disk in (
        create(tmp_path / "new", "-f", "qcow2", *options, "1G"),
        converted(tmp_path / "full", "-O", "qcow2", *options, size=3 * MIB),
    ):
        assert choose.disk(disk, "auto") == Choice("qcow2")
        assert choose.disk(disk, "qcow2") == Choice("qcow2")


COMPRESSED = [("-c",), ("-c", "-o", "compression_type=zstd"), ("-c", "-o", "cluster_size=4k")]


@pytest.mark.parametrize("options", QCOW2 + COMPRESSED, ids=" ".join)
def test_a_qcow2_image_that_is_truncated(options: tuple[str, ...], tmp_path: Path) -> None:
    """Truncated within its data, its tables and its header; the disk mode makes no difference."""
    disk = converted(tmp_path / "disk", "-O", "qcow2", *options, size=5 * MIB)
    whole = disk.stat().st_size
    assert choose.disk(disk, "auto") == Choice("qcow2")
    # As for `qemu-img check`, part of the last cluster may be missing. It has up to 2 MiB.
    for size in (whole - 2 * MIB, whole // 2, 4096, 80):
        error = refused(truncate(disk, size))
        assert f"VMNET_DISK={disk} is a qcow2 image, but damaged: it is truncated" in error.message
        assert "`qemu-img check -f qcow2 disk`" in error.hint
        assert refused(disk, "qcow2").message == error.message
        assert refused(disk, ephemeral=True).message == error.message


def test_clusters_that_a_killed_qemu_had_only_allocated_are_no_damage(tmp_path: Path) -> None:
    """The refcounts count a cluster past the end of the file, but no table names it."""
    disk = create(tmp_path / "disk", "-f", "qcow2", "1G")
    with disk.open("r+b") as file:
        file.seek(0x20000 + 2 * 1000)  # the first block of reference counts, of 16 bits each
        file.write(b"\0\1")
    qemu_img("check", disk)
    assert choose.disk(disk, "auto") == Choice("qcow2")


def test_a_table_that_names_a_cluster_past_the_end(tmp_path: Path) -> None:
    disk = converted(tmp_path / "disk", "-O", "qcow2", size=MIB)
    truncate(disk, disk.stat().st_size - 65536)
    assert "its data continues" in refused(disk).message


def header(disk: Path, offset: int, content: bytes) -> Path:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(content)
    return disk


@pytest.mark.parametrize(
    ("offset", "content", "fault"),
    [
        (4, b"\0\0\0\4", "its version is 4"),
        (4, b"\0\0\0\0", "its version is 0"),
        (20, b"\0\0\0\x40", "its cluster size of 2^64 bytes is invalid"),
        (24, b"\xff" * 8, "its L1 table of 2 entries is too small"),
        (32, b"\0\0\0\1", "it is encrypted"),
        (36, b"\xff" * 4, "its L1 table of 4294967295 entries is too large"),
        (40, b"\0" * 8, "its L1 table overlaps the header"),
        (40, b"\0\0\0\0\0\0\0\7", "its L1 table has an invalid offset: 0x7"),
        (40, b"\0\0\1\0\0\0\0\0", "truncated: its L1 table"),
        (48, b"\xff\0\0\0\0\0\0\0", "truncated: its refcount table"),
        (56, b"\0" * 4, "its refcount table size of 0 clusters is invalid"),
        (60, b"\0\0\0\1\0\0\0\0\0\x10\0\0", "truncated: its snapshot table"),
        (79, b"\2", "QEMU has marked it corrupt"),
        (79, b"\x20", "it uses unknown features: 0x20"),
        (99, b"\7", "its refcount width of 2^7 bits is invalid"),
        (100, b"\0\0\0\x10", "its header size of 16 bytes is invalid"),
        (0x10000, b"\0\0\0\0\1\0\0\0", "a refcount block starts"),
        (0x30000, b"\x80\0\0\0\1\0\0\0", "an L2 table starts"),
        (0x30000, b"\x80\0\0\0\0\0\2\0", "an L2 table has an invalid offset: 0x200"),
    ],
)
def test_a_qcow2_image_with_invalid_numbers(
    offset: int, content: bytes, fault: str, tmp_path: Path
) -> None:
    disk = create(tmp_path / "disk", "-f", "qcow2", "1G")
    assert fault in refused(header(disk, offset, content)).message


OTHERS = [
    ("qcow",),
    ("qed",),
    ("vdi",),
    ("vdi", "-o", "static=on"),
    ("vpc",),
    ("vhdx",),
    ("vhdx", "-o", "subformat=fixed"),
    ("vmdk",),
]


@pytest.mark.parametrize("options", OTHERS, ids=" ".join)
def test_a_format_that_qemu_reads_and_writes_is_served_in_that_format(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    name = options[0]
    for disk in (
        create(tmp_path / "new", "-f", *options, "1G"),
        converted(tmp_path / "full", "-O", *options),
    ):
        choice = choose.disk(disk, "auto")
        assert (choice.format, choice.guessed, choice.backed) == (name, False, False)
        assert f"`qemu-img convert -f {name} -O qcow2 {disk.name} {disk.name}.qcow2`" in choice.note
        assert choose.disk(disk, "auto", ephemeral=True) == Choice(name)
        assert choose.disk(disk, name).format == name
        assert choose.disk(disk, "raw") == Choice("raw"), "the user may declare it raw"
        assert choose.disk(create(tmp_path / "raw", "1M"), "auto") == Choice("raw", guessed=True)
        assert "in no known format" in refused(tmp_path / "raw", name).message


TRUNCATED = [
    *(("qed",), ("vdi",), ("vpc",), ("vpc", "-o", "subformat=fixed"), ("vmdk",)),
    ("vmdk", "-o", "subformat=streamOptimized"),
]


@pytest.mark.parametrize("options", TRUNCATED, ids=" ".join)
def test_another_image_that_is_truncated(options: tuple[str, ...], tmp_path: Path) -> None:
    disk = converted(tmp_path / "disk", "-O", *options, size=5 * MIB)
    whole = disk.stat().st_size
    footer = disk.read_bytes()[-512:] if "subformat=fixed" in options else b""
    for size in (whole - MIB, 3 * MIB, 1024):
        truncate(disk, size)
        with disk.open("ab") as file:  # without its footer, a fixed-size VHD is a raw disk
            file.write(footer)
        assert "truncated" in refused(disk, options[0]).message


@pytest.mark.parametrize(
    "options",
    [
        ("vmdk", "-o", "subformat=monolithicFlat"),
        ("vmdk", "-o", "subformat=twoGbMaxExtentFlat"),
        ("vmdk", "-o", "subformat=twoGbMaxExtentSparse"),
    ],
    ids=" ".join,
)
def test_a_disk_of_several_files(options: tuple[str, ...], tmp_path: Path) -> None:
    """QEMU would open files of the container by the names in the image."""
    disk = create(tmp_path / "disk.vmdk", "-f", *options, "8M")
    for part in (disk, *tmp_path.glob("disk-s*.vmdk")):
        for requested in ("auto", "vmdk"):
            error = refused(part, requested, ephemeral=True)
            assert "only a part of a disk" in error.message
            assert f"`qemu-img convert -f vmdk -O qcow2 {part.name}" in error.hint


@pytest.mark.parametrize("kind", ["qcow", "qed", "vmdk"])
def test_another_image_that_names_its_backing_file(kind: str, tmp_path: Path) -> None:
    base = create(tmp_path / "base", "-f", "vmdk" if kind == "vmdk" else "raw", "8M")
    base_format = "vmdk" if kind == "vmdk" else "raw"
    disk = create(tmp_path / "disk", "-f", kind, "-b", str(base), "-F", base_format, "8M")
    assert "only a part of a disk" in refused(disk).message


def test_a_vmdk_with_a_second_descriptor_where_qemu_looks_for_its_parent(tmp_path: Path) -> None:
    """Its header places the first descriptor elsewhere.

    The author of such an image could choose another file that QEMU opens.
    """
    base = create(tmp_path / "base.vmdk", "-f", "vmdk", "8M")
    disk = create(tmp_path / "disk.vmdk", "-f", "vmdk", "8M")
    content = disk.read_bytes().ljust(1 << 20, b"\0")
    descriptor = content[512 : 21 * 512].rstrip(b"\0")
    second = descriptor.replace(b"parentCID=ffffffff", b"parentCID=00000000")
    second += b'\nparentFileNameHint="%s"\n' % bytes(base)
    disk.write_bytes(content + descriptor.ljust(20 * 512, b"\0"))
    header(disk, 28, struct.pack("<QQ", len(content) // 512, 20))
    assert choose.disk(disk, "auto").format == "vmdk"
    header(disk, 512, second)
    assert f"backing file: {base}" in qemu_img("info", disk)
    assert "only a part of a disk" in refused(disk, ephemeral=True).message


def test_a_differencing_vhd(tmp_path: Path) -> None:
    disk = create(tmp_path / "disk.vhd", "-f", "vpc", "8M")
    assert "only a part of a disk" in refused(header(disk, 60, b"\0\0\0\4")).message


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ("vmdk", "-o", "subformat=streamOptimized"),
            "it is compressed, so QEMU can only read it",
        ),
        (("parallels",), "if QEMU is killed, it may refuse to open the image again"),
    ],
)
def test_an_image_that_qemu_must_not_write(
    options: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    disk = converted(tmp_path / "disk", "-O", *options)
    error = refused(disk)
    assert error.message.endswith(why)
    assert "`qemu-img convert" in error.hint
    assert "VMNET_DISK_MODE=ephemeral" in error.hint
    assert choose.disk(disk, "auto", ephemeral=True) == Choice(options[0])


@pytest.mark.parametrize("size", [47, 79])
def test_a_qcow_image_of_version_1_that_ends_within_its_header(size: int, tmp_path: Path) -> None:
    disk = create(tmp_path / "disk", "-f", "qcow", "8M")
    assert "truncated" in refused(truncate(disk, size)).message


def test_a_fixed_size_vhd_is_served_if_the_user_declares_it(tmp_path: Path) -> None:
    """Only its footer distinguishes it from a raw disk, and a guest can write a footer."""
    disk = create(tmp_path / "disk.vhd", "-f", "vpc", "-o", "subformat=fixed", "8M")
    error = refused(disk)
    assert "VHD image of fixed size" in error.message
    assert "VMNET_DISK_FORMAT=vpc" in error.hint
    assert choose.disk(disk, "vpc").format == "vpc"


PACKED = [
    (("gzip", "-c"), "gzip -dc disk > disk.img"),
    (("bzip2", "-c"), "bzip2 -dc disk > disk.img"),
    (("xz", "-c"), "xz -dc disk > disk.img"),
    (("zstd", "-qc"), "zstd -dc disk > disk.img"),
    (("tar", "-cf", "-"), "tar -xf disk"),
]


@pytest.mark.parametrize(("packer", "command"), PACKED, ids=lambda value: value[0])
def test_a_packed_image_is_refused_with_the_command_that_unpacks_it(
    packer: tuple[str, ...], command: str, tmp_path: Path
) -> None:
    create(tmp_path / "source", "1M")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        subprocess.run((*packer, "source"), check=True, stdout=file, cwd=tmp_path)
    for error in (refused(disk), refused(disk, ephemeral=True)):
        assert error.message.startswith(f"VMNET_DISK={disk} is ")
        assert error.message.endswith(", which vmnet does not serve as a disk")
        assert f"`{command}`" in error.hint
        assert "VMNET_DISK_FORMAT=raw" in error.hint
    with pytest.raises(MachineError, match="not a CD image") as caught:
        choose.cdrom(disk)
    assert f"`{command}`" in caught.value.hint
    assert choose.disk(disk, "raw") == Choice("raw")


@pytest.mark.parametrize(
    ("offset", "mark", "title", "remedy"),
    [
        (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "`7z x disk`"),
        (0, b"PK\3\4", "a zip archive", "`unzip disk`"),
        (0, b"Rar!\x1a\7", "a rar archive", "`unrar x disk`"),
        (0, b"\4\x22\x4d\x18", "lz4 data", "`lz4 -dc disk > disk.img`"),
        (0, b"\x89LZO\0", "lzop data", "`lzop -dc disk > disk.img`"),
        (0, b"LZIP", "lzip data", "`lzip -dc disk > disk.img`"),
        (0, b"\x3a\xff\x26\xed", "an Android sparse image", "`simg2img disk disk.img`"),
        (0, b"VMA\0", "a Proxmox backup", "`vma extract disk disk.d`"),
        (0, b"LUKS\xba\xbe\0\1", "encrypted by LUKS", "VMNET_DISK_FORMAT=raw"),
        (0, b"Bochs Virtual HD Image\0", "a Bochs image", "`qemu-img convert -f bochs "),
        (-512, b"koly", "a DMG image (Apple)", "`qemu-img convert -f dmg "),
        (32769, b"CD001", "an ISO 9660 image", "VMNET_CDROM=DISK "),
        (32769, b"BEA01", "a UDF image", "VMNET_CDROM=DISK "),
    ],
)
def test_a_known_format_that_is_not_served(
    offset: int, mark: bytes, title: str, remedy: str, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    content = bytearray(MIB)
    content[offset % MIB : offset % MIB + len(mark)] = mark
    disk.write_bytes(content)
    error = refused(disk)
    assert error.message == f"VMNET_DISK={disk} is {title}, which vmnet does not serve as a disk"
    assert remedy.replace("DISK ", f"{disk} ") in error.hint


def test_luks_2_is_a_raw_disk_that_the_guest_encrypts(tmp_path: Path) -> None:
    """QEMU has no driver for LUKS 2, so no user can expect QEMU to decrypt the disk."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"LUKS\xba\xbe\0\2".ljust(MIB, b"\0"))
    assert choose.disk(disk, "auto") == Choice("raw", guessed=True)


@pytest.mark.parametrize("content", [b"QFI", b"<!DOCTYPE html>", b"\0" * 513])
def test_a_file_with_a_partial_sector_is_refused(content: bytes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    error = refused(disk)
    assert f"is not a disk image: its size of {len(content)} bytes" in error.message
    assert "VMNET_DISK_FORMAT=raw" in error.hint
    assert choose.disk(disk, "raw") == Choice("raw")


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b"\xfbQFI".ljust(512), b"\xff" * 65536])
def test_any_other_disk_is_raw_and_protected_from_its_guest(content: bytes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    assert choose.disk(disk, "auto") == Choice("raw", guessed=True)
    assert choose.disk(disk, "auto", ephemeral=True) == Choice("raw"), "the guest writes elsewhere"
    choose.cdrom(disk)


@pytest.mark.parametrize(
    ("kind", "remedy"), [("qcow2", "set VMNET_DISK to it instead"), ("luks", "`qemu-img convert ")]
)
def test_a_disk_image_is_refused_as_a_cd(kind: str, remedy: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes({"qcow2": b"QFI\xfb\0\0\0\3", "luks": b"LUKS\xba\xbe\0\1"}[kind].ljust(512))
    with pytest.raises(MachineError, match="not a CD image") as caught:
        choose.cdrom(disk)
    assert remedy in caught.value.hint


def test_an_unreadable_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    disk = create(tmp_path / "disk", "1M")
    monkeypatch.setattr("os.pread", broken)
    assert refused(disk).message == f"VMNET_DISK={disk} can't be read: Input/output error"
    with pytest.raises(MachineError, match=r"VMNET_CDROM=.* can't be read"):
        choose.cdrom(disk)


def luks(path: Path) -> Path:
    secret = path.with_name("PASSPHRASE")
    secret.write_text("secret")
    # QEMU first times the hash in clock ticks, and the default hash is too fast for that.
    options = ("-o", "key-secret=key,iter-time=10,hash-alg=sha512")
    return create(path, "--object", f"secret,id=key,file={secret}", "-f", "luks", *options, "1M")


def packed(path: Path, *packer: str) -> Path:
    source = create(path.with_name("source.img"), "1M")
    with path.open("wb") as file:
        subprocess.run((*packer, source.name), check=True, stdout=file, cwd=path.parent)
    source.unlink()
    return path


HINTED: list[Callable[[Path], Path]] = [
    lambda path: create(path, "-f", "vmdk", "-o", "subformat=twoGbMaxExtentFlat", "1M"),
    lambda path: converted(path, "-O", "vmdk", "-o", "subformat=streamOptimized", size=MIB),
    lambda path: create(path, "-f", "vpc", "-o", "subformat=fixed", "1M"),
    luks,
    lambda path: packed(path, "gzip", "-c"),
    lambda path: packed(path, "tar", "-cf", "-"),
]


@pytest.mark.parametrize("make", HINTED)
def test_the_command_in_the_hint_makes_a_disk_that_is_served(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    disk = make(tmp_path / "my disk")
    (command,) = re.findall("`(.*?)`", refused(disk).hint)
    before = set(tmp_path.iterdir())
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, stdin=subprocess.DEVNULL)
    (made,) = set(tmp_path.iterdir()) - before
    assert choose.disk(made, "auto").format == ("raw" if made.suffix == ".img" else "qcow2")


@pytest.mark.parametrize(
    "options",
    [
        *OTHERS,
        ("qcow2",),
        ("qcow2", "-o", "lazy_refcounts=on"),
        ("qcow2", "-o", "cluster_size=512"),
    ],
    ids=" ".join,
)
def test_an_image_whose_qemu_was_killed_while_writing_is_served(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """Writes that were under way may be lost, and a start must not take this for damage."""
    disk = create(tmp_path / "disk", "-f", *options, "64M")
    for start in range(0, 60, 20):
        writes = [("-c", f"aio_write -q -P 7 {start + 5 * number}M 3000k") for number in range(4)]
        words = ("qemu-io", "-f", options[0], *(word for write in writes for word in write))
        killed = subprocess.run(
            (*words, "-c", "abort", disk), stderr=subprocess.PIPE, check=False, cwd=tmp_path
        )
        assert killed.returncode == -signal.SIGABRT, killed.stderr
        assert choose.disk(disk, "auto").format == options[0]
