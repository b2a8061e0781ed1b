"""Properties that hold for any image content, compared with what qemu-img reports."""

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

from tests.unit.images import converted
from vmnet.errors import MachineError
from vmnet.planning.storage.image import choose, magic, other_formats, qcow2
from vmnet.planning.storage.image.reading import Read

FORMATS = ("qcow", "qcow2", "qed", "vdi", "vhdx", "vmdk", "vpc", "parallels")
# Marks in the first sector that QEMU recognises, and similar bytes that are not marks.
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
    if asked.returncode:  # qemu-img guessed a format, and failed to open the file in that format
        return "unusable"
    return str(json.loads(asked.stdout)["format"])


@settings(max_examples=30)
@given(mark=st.sampled_from(MARKS), rest=st.binary(max_size=64))
@example(mark=b"", rest=b"")
def test_a_disk_that_vmnet_guesses_raw_is_raw_for_qemu(mark: bytes, rest: bytes) -> None:
    """Otherwise QEMU would open a guessed disk in a format that vmnet has not checked."""
    with file((mark + rest).ljust(1 << 20, b"\0")) as path:
        try:
            is_raw = choose.disk(path, "auto").guessed
        except MachineError:
            is_raw = False
        if is_raw:
            assert guessed_by_qemu(path) == "raw"


@pytest.mark.parametrize("kind", FORMATS)
def test_qemu_prevents_a_guest_from_writing_a_mark_that_vmnet_trusts(kind: str) -> None:
    """qemu-io writes through QEMU's driver, as a guest does, to a disk whose format is guessed."""
    first_sector = image(kind)[: magic.SECTOR].ljust(magic.SECTOR, b"\0")
    with file(b"\0" * (1 << 20)) as disk, file(first_sector) as source:
        assert choose.disk(disk, "auto").guessed
        write = ("qemu-io", "-c", f"write -s {source} 0 {magic.SECTOR}", str(disk))
        written = subprocess.run(write, capture_output=True, text=True, check=False)
        assert "write failed: Operation not permitted" in written.stdout + written.stderr
        assert choose.disk(disk, "auto").guessed


def test_only_marks_in_the_first_sector_are_trusted() -> None:
    """A guest can write marks elsewhere. They can cause a refusal, but never choose the format."""
    for offset, mark, content in (*magic._HEADS, *magic._TAILS):
        if content.format in choose.SERVED and not content.forgeable:
            assert offset + len(mark) <= magic.SECTOR


@given(kind=st.sampled_from(FORMATS), data=st.data())
def test_a_garbled_image_never_causes_a_traceback(kind: str, data: st.DataObject) -> None:
    content = bytearray(image(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 511) | st.integers(0, len(content) - 1))
        content[place : place + 8] = data.draw(st.binary(min_size=1, max_size=8))
    shortened = bytes(content[: data.draw(st.integers(0, len(content)))])
    for requested in ("auto", kind):
        with file(shortened) as path, suppress(MachineError):
            assert choose.disk(path, requested).format in choose.SERVED


@given(data=st.data())
def test_a_qcow2_image_that_lost_its_end_never_passes(data: st.DataObject) -> None:
    content = image("qcow2")
    last_cluster = (len(content) - 1) // 65536 * 65536
    shortened = content[: data.draw(st.integers(0, last_cluster))]
    assert "truncated" in qcow2.fault(reader(shortened), len(shortened))


@given(head=st.binary(max_size=600), length=st.integers(0, 2**63))
def test_any_bytes_after_a_mark_give_facts_or_faults(head: bytes, length: int) -> None:
    for mark in (b"QFI\xfb\0\0\0\3", b"QFI\xfb\0\0\0\1", b"QED\0", b"KDMV", b"COWD", b"conectix"):
        content = mark + head
        assert isinstance(qcow2.fault(reader(content), length), str)
        for kind in FORMATS:
            assert isinstance(other_formats.facts(kind, reader(content), length).fault, str)


def test_an_image_may_be_shorter_than_its_device(tmp_path: Path) -> None:
    """An image rarely fills its logical volume: the bytes after it do not matter."""
    path = tmp_path / "disk"
    path.write_bytes(image("qcow2"))
    os.truncate(path, 64 << 20)
    assert choose.disk(path, "auto").format == "qcow2"
