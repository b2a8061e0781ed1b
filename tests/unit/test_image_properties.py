"""What must never happen, whatever an image holds; and QEMU's own opinion, asked of qemu-img."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.test_image import converted
from vmnet.errors import MachineError
from vmnet.image import choose, magic, others, qcow2
from vmnet.image.reading import Read

FORMATS = ("qcow", "qcow2", "qed", "vdi", "vhdx", "vmdk", "vpc", "parallels")
# What QEMU would believe in the first sector; the last of a kind is not to be believed any more.
MARKS = [
    *(b"QFI\xfb\0\0\0\1", b"QFI\xfb\0\0\0\2", b"QFI\xfb\0\0\0\3", b"QFI\xfb\0\0\0\4", b"QFI\xfb"),
    *(b"QED\0", b"QED", b"KDMV", b"COWD", b"VMDK", b"conectix", b"vhdxfile", b"vhdxfil"),
    *(b"WithoutFreeSpace\2\0\0\0", b"WithouFreSpacExt\2\0\0\0", b"WithoutFreeSpac"),
    *(b"\0" * 64 + b"\x7f\x10\xda\xbe", b"\0" * 64 + b"\xbe\xda\x10\x7f"),
    *(b"LUKS\xba\xbe\0\1", b"LUKS\xba\xbe\0\2"),
    *(b"# Disk DescriptorFile\nversion=1\n", b"version=3\r\n", b"#\n#\n  \nversion=2\n", b"# x\n"),
    b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n",
    b"Bochs Virtual HD Image".ljust(32, b"\0")
    + b"Redolog".ljust(16, b"\0")
    + b"Growing".ljust(16, b"\0")
    + b"\0\0\2\0",
]


@functools.cache
def image(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return converted(Path(folder, "disk"), "-O", kind, size=1 << 18).read_bytes()


def reader(content: bytes) -> Read:
    return lambda offset, size: content[offset : offset + size]


@contextmanager
def file(content: bytes) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile() as made:
        made.write(content)
        made.flush()
        yield Path(made.name)


def guessed_by_qemu(path: Path) -> str:
    command = ("qemu-img", "info", "--output=json", str(path))
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:  # it took it for something, and failed to open it as that
        return "unusable"
    return str(json.loads(asked.stdout)["format"])


@settings(max_examples=30)
@given(mark=st.sampled_from(MARKS), rest=st.binary(max_size=64))
@example(mark=b"", rest=b"")
def test_what_is_raw_here_is_raw_for_qemu(mark: bytes, rest: bytes) -> None:
    """Else it would open a guessed disk as something that was not decided here."""
    with file((mark + rest).ljust(1 << 20, b"\0")) as path:
        try:
            is_raw = choose.disk(path, "auto").guessed
        except MachineError:
            is_raw = False
        if is_raw:
            assert guessed_by_qemu(path) == "raw"


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_believed_by_its_content_qemu_keeps_a_guest_from_writing(kind: str) -> None:
    """By writing through its driver, as a guest does, to a disk whose format it guessed."""
    first_sector = image(kind)[: magic.SECTOR].ljust(magic.SECTOR, b"\0")
    with file(b"\0" * (1 << 20)) as disk, file(first_sector) as source:
        assert choose.disk(disk, "auto").guessed
        write = ("qemu-io", "-c", f"write -s {source} 0 {magic.SECTOR}", str(disk))
        written = subprocess.run(write, capture_output=True, text=True, check=False)
        assert "write failed: Operation not permitted" in written.stdout + written.stderr
        assert choose.disk(disk, "auto").guessed


def test_only_a_first_sector_is_believed() -> None:
    """Marks elsewhere a guest can write; an image is refused for them, and never opened by them."""
    for offset, mark, content in (*magic._HEADS, *magic._TAILS):
        if content.format in choose.SERVED and not content.guests:
            assert offset + len(mark) <= magic.SECTOR


@given(kind=st.sampled_from(FORMATS), data=st.data())
def test_garbled_images_are_never_a_traceback(kind: str, data: st.DataObject) -> None:
    content = bytearray(image(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 511) | st.integers(0, len(content) - 1))
        content[place : place + 8] = data.draw(st.binary(min_size=1, max_size=8))
    shortened = bytes(content[: data.draw(st.integers(0, len(content)))])
    for wish in ("auto", kind):
        with file(shortened) as path, suppress(MachineError):
            assert choose.disk(path, wish).format in choose.SERVED


@given(data=st.data())
def test_a_qcow2_image_that_lost_its_end_never_passes(data: st.DataObject) -> None:
    content = image("qcow2")
    last_cluster = (len(content) - 1) // 65536 * 65536
    shortened = content[: data.draw(st.integers(0, last_cluster))]
    assert "cut short" in qcow2.fault(reader(shortened), len(shortened))


@given(head=st.binary(max_size=600), length=st.integers(0, 2**63))
def test_any_bytes_behind_a_mark_are_facts_or_faults(head: bytes, length: int) -> None:
    for mark in (b"QFI\xfb\0\0\0\3", b"QFI\xfb\0\0\0\1", b"QED\0", b"KDMV", b"COWD", b"conectix"):
        content = mark + head
        assert isinstance(qcow2.fault(reader(content), length), str)
        for kind in FORMATS:
            assert isinstance(others.facts(kind, reader(content), length).fault, str)


def test_an_image_in_a_device_is_as_long_as_the_device(tmp_path: Path) -> None:
    """An image is not all of a logical volume: what follows it is no matter."""
    path = tmp_path / "disk"
    path.write_bytes(image("qcow2"))
    os.truncate(path, 64 << 20)
    assert choose.disk(path, "auto").format == "qcow2"
