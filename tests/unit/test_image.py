"""Disk images as qemu-img makes them, what people take for one, and marks that a guest planted."""

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

from vmnet.errors import MachineError
from vmnet.image import choose
from vmnet.image.choose import Choice

MIB = 1 << 20


def qemu_img(*words: str | Path) -> str:
    command = ("qemu-img", *map(str, words))
    return subprocess.run(command, check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout


def create(path: Path, *arguments: str) -> Path:
    qemu_img("create", "-q", *arguments[:-1], path, arguments[-1])
    return path


def converted(path: Path, *arguments: str, size: int = 8 * MIB) -> Path:
    """An image full of noise, so that it has all of its clusters."""
    source = path.with_name("source")
    source.write_bytes(random.Random(1).randbytes(size))
    qemu_img("convert", "-f", "raw", *arguments, source, path)
    source.unlink()
    return path


def cut(path: Path, size: int) -> Path:
    os.truncate(path, size)
    return path


def refused(path: Path, wish: str = "auto", *, ephemeral: bool = False) -> MachineError:
    with pytest.raises(MachineError) as caught:
        choose.disk(path, wish, ephemeral=ephemeral)
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
def test_a_qcow2_image_that_is_cut_short(options: tuple[str, ...], tmp_path: Path) -> None:
    """At its data, its tables and its header; ephemeral or declared, it is as broken."""
    disk = converted(tmp_path / "disk", "-O", "qcow2", *options, size=5 * MIB)
    whole = disk.stat().st_size
    assert choose.disk(disk, "auto") == Choice("qcow2")
    # As for `qemu-img check`, of the last cluster, which has 2 MiB at most, a part may be there.
    for size in (whole - 2 * MIB, whole // 2, 4096, 80):
        error = refused(cut(disk, size))
        assert f"VMNET_DISK={disk} is a qcow2 image, but damaged: it is cut short" in error.message
        assert "`qemu-img check -f qcow2 disk`" in error.hint
        assert refused(disk, "qcow2").message == error.message
        assert refused(disk, ephemeral=True).message == error.message


def test_clusters_that_a_killed_qemu_had_only_taken_are_no_damage(tmp_path: Path) -> None:
    """Counted behind the end, and named by no table."""
    disk = create(tmp_path / "disk", "-f", "qcow2", "1G")
    with disk.open("r+b") as file:
        file.seek(0x20000 + 2 * 1000)  # the first block of reference counts, of 16 bits each
        file.write(b"\0\1")
    qemu_img("check", disk)
    assert choose.disk(disk, "auto") == Choice("qcow2")


def test_a_cluster_that_a_table_names_behind_the_end(tmp_path: Path) -> None:
    disk = converted(tmp_path / "disk", "-O", "qcow2", size=MIB)
    cut(disk, disk.stat().st_size - 65536)
    assert "its data goes on" in refused(disk).message


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
        (20, b"\0\0\0\x40", "its clusters can't have 2^64 bytes"),
        (24, b"\xff" * 8, "its L1 table of 2 entries is too small"),
        (32, b"\0\0\0\1", "it is encrypted"),
        (36, b"\xff" * 4, "its L1 table can't have"),
        (40, b"\0" * 8, "its L1 table would lie over the header"),
        (40, b"\0\0\0\0\0\0\0\7", "its L1 table can't lie at 0x7"),
        (40, b"\0\0\1\0\0\0\0\0", "cut short: its L1 table"),
        (48, b"\xff\0\0\0\0\0\0\0", "cut short: its refcount table"),
        (56, b"\0" * 4, "its refcount table can't have 0 clusters"),
        (60, b"\0\0\0\1\0\0\0\0\0\x10\0\0", "cut short: its snapshot table"),
        (79, b"\2", "QEMU has marked it corrupt"),
        (79, b"\x20", "it has features that are unknown here: 0x20"),
        (99, b"\7", "its reference counts can't have 2^7 bits"),
        (100, b"\0\0\0\x10", "its header can't have 16 bytes"),
        (0x10000, b"\0\0\0\0\1\0\0\0", "a block of reference counts lies"),
        (0x30000, b"\x80\0\0\0\1\0\0\0", "an L2 table lies"),
        (0x30000, b"\x80\0\0\0\0\0\2\0", "an L2 table can't lie at 0x200"),
    ],
)
def test_a_qcow2_image_whose_numbers_do_not_hold(
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
def test_what_qemu_reads_and_writes_is_served_as_what_it_is(
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
        assert choose.disk(disk, "raw") == Choice("raw"), "its owner may say so"
        assert choose.disk(create(tmp_path / "raw", "1M"), "auto") == Choice("raw", guessed=True)
        assert "of no format that is known" in refused(tmp_path / "raw", name).message


CUT = [
    *(("qed",), ("vdi",), ("vpc",), ("vpc", "-o", "subformat=fixed"), ("vmdk",)),
    ("vmdk", "-o", "subformat=streamOptimized"),
]


@pytest.mark.parametrize("options", CUT, ids=" ".join)
def test_another_image_that_is_cut_short(options: tuple[str, ...], tmp_path: Path) -> None:
    disk = converted(tmp_path / "disk", "-O", *options, size=5 * MIB)
    whole = disk.stat().st_size
    footer = disk.read_bytes()[-512:] if "subformat=fixed" in options else b""
    for size in (whole - MIB, 3 * MIB, 1024):
        cut(disk, size)
        with disk.open("ab") as file:  # without its footer, a VHD of fixed size is a raw disk
            file.write(footer)
        assert "cut short" in refused(disk, options[0]).message


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
    """It would have QEMU open files of the container by the names that it holds."""
    disk = create(tmp_path / "disk.vmdk", "-f", *options, "8M")
    parts = [disk, *(one for one in tmp_path.glob("disk-s*.vmdk"))]
    for part in parts:
        for wish in ("auto", "vmdk"):
            error = refused(part, wish, ephemeral=True)
            assert "only a part of a disk" in error.message
            assert f"`qemu-img convert -f vmdk -O qcow2 {part.name}" in error.hint


@pytest.mark.parametrize("kind", ["qcow", "qed", "vmdk"])
def test_another_image_that_names_its_backing_file(kind: str, tmp_path: Path) -> None:
    base = create(tmp_path / "base", "-f", "vmdk" if kind == "vmdk" else "raw", "8M")
    base_format = "vmdk" if kind == "vmdk" else "raw"
    disk = create(tmp_path / "disk", "-f", kind, "-b", str(base), "-F", base_format, "8M")
    assert "only a part of a disk" in refused(disk).message


def test_a_vmdk_with_a_second_descriptor_where_qemu_looks_for_its_parent(tmp_path: Path) -> None:
    """Its header has the first elsewhere. Who made it chooses what else QEMU opens."""
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


def test_a_vhd_that_only_has_the_differences_to_its_parent(tmp_path: Path) -> None:
    disk = create(tmp_path / "disk.vhd", "-f", "vpc", "8M")
    assert "only a part of a disk" in refused(header(disk, 60, b"\0\0\0\4")).message


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("vmdk", "-o", "subformat=streamOptimized"), "compressed, which QEMU can only read"),
        (("parallels",), "which QEMU may not open again once it was killed"),
    ],
)
def test_what_is_only_to_be_read(options: tuple[str, ...], why: str, tmp_path: Path) -> None:
    disk = converted(tmp_path / "disk", "-O", *options)
    error = refused(disk)
    assert error.message.endswith(why)
    assert "`qemu-img convert" in error.hint
    assert "VMNET_DISK_MODE=ephemeral" in error.hint
    assert choose.disk(disk, "auto", ephemeral=True) == Choice(options[0])


@pytest.mark.parametrize("size", [47, 79])
def test_a_qcow_image_of_version_1_that_ends_within_its_header(size: int, tmp_path: Path) -> None:
    disk = create(tmp_path / "disk", "-f", "qcow", "8M")
    assert "cut short" in refused(cut(disk, size)).message


def test_a_vhd_of_fixed_size_is_served_if_its_owner_says_so(tmp_path: Path) -> None:
    """Its footer is all that tells it from a raw disk, and a guest can write one."""
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
def test_what_has_to_be_unpacked(packer: tuple[str, ...], command: str, tmp_path: Path) -> None:
    create(tmp_path / "source", "1M")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        subprocess.run((*packer, "source"), check=True, stdout=file, cwd=tmp_path)
    for error in (refused(disk), refused(disk, ephemeral=True)):
        assert error.message.startswith(f"VMNET_DISK={disk} is ")
        assert error.message.endswith(", which is not served as a disk")
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
def test_what_is_known_and_not_served(
    offset: int, mark: bytes, title: str, remedy: str, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    content = bytearray(MIB)
    content[offset % MIB : offset % MIB + len(mark)] = mark
    disk.write_bytes(content)
    error = refused(disk)
    assert error.message == f"VMNET_DISK={disk} is {title}, which is not served as a disk"
    assert remedy.replace("DISK ", f"{disk} ") in error.hint


def test_the_second_version_of_luks_is_a_guests_own(tmp_path: Path) -> None:
    """QEMU has no driver for it, so that nobody can mean it to be opened here."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"LUKS\xba\xbe\0\2".ljust(MIB, b"\0"))
    assert choose.disk(disk, "auto") == Choice("raw", guessed=True)


@pytest.mark.parametrize("content", [b"QFI", b"<!DOCTYPE html>", b"\0" * 513])
def test_what_has_no_whole_sectors_is_no_disk(content: bytes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    error = refused(disk)
    assert f"is no disk image: it has {len(content)} bytes" in error.message
    assert "VMNET_DISK_FORMAT=raw" in error.hint
    assert choose.disk(disk, "raw") == Choice("raw")


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b"\xfbQFI".ljust(512), b"\xff" * 65536])
def test_another_disk_is_raw_and_protected_from_its_guest(content: bytes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    assert choose.disk(disk, "auto") == Choice("raw", guessed=True)
    assert choose.disk(disk, "auto", ephemeral=True) == Choice("raw"), "nobody writes to it"
    choose.cdrom(disk)


@pytest.mark.parametrize(
    ("kind", "remedy"), [("qcow2", "name it with VMNET_DISK"), ("luks", "`qemu-img convert ")]
)
def test_a_disk_image_is_no_cd(kind: str, remedy: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes({"qcow2": b"QFI\xfb\0\0\0\3", "luks": b"LUKS\xba\xbe\0\1"}[kind].ljust(512))
    with pytest.raises(MachineError, match="not a CD image") as caught:
        choose.cdrom(disk)
    assert remedy in caught.value.hint


def test_a_disk_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    # QEMU first measures the hash by ticks of the clock, and the usual one is too fast for that.
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
def test_the_command_of_a_refusal_makes_a_disk_that_is_served(
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
def test_an_image_whose_qemu_was_killed_amid_its_writes_is_served(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """What had not been written yet may be gone, and no start may take that for damage."""
    disk = create(tmp_path / "disk", "-f", *options, "64M")
    for start in range(0, 60, 20):
        writes = [("-c", f"aio_write -q -P 7 {start + 5 * one}M 3000k") for one in range(4)]
        words = ("qemu-io", "-f", options[0], *(word for one in writes for word in one))
        killed = subprocess.run(
            (*words, "-c", "abort", disk), stderr=subprocess.PIPE, check=False, cwd=tmp_path
        )
        assert killed.returncode == -signal.SIGABRT, killed.stderr
        assert choose.disk(disk, "auto").format == options[0]
