"""Files that users mistake for images, and the commands that make disks of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.images import MIB, converted, create, refused
from vmnet.errors import MachineError
from vmnet.planning.storage.image import choose
from vmnet.planning.storage.image.choose import Choice

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
