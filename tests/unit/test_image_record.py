"""What a start records on an image, and what later starts make of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from tests.unit.images import create, header, refused
from vmnet.errors import MachineError
from vmnet.lifecycle import disks
from vmnet.model.devices import Base, Disk
from vmnet.planning.storage.image import choose, lock, record
from vmnet.planning.storage.image.choose import Choice

_QCOW2 = b"QFI\xfb\0\0\0\3"
# Locks a byte as QEMU does for writing, and names itself like QEMU.
_WRITER = """
import fcntl, struct, sys
open("/proc/self/comm", "w").write("qemu-system-x86")
file = open(sys.argv[1], "r+b")
lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 101, 1, 0)
fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_raw_disk_stays_raw_whatever_its_guest_writes(tmp_path: Path) -> None:
    disk = create(tmp_path / "disk", "1M")
    disks.record_use((Disk(disk, "raw"),), "db")
    assert choose.disk(disk, "auto") == Choice("raw", guessed=True), "QEMU still protects it"
    header(disk, 0, _QCOW2)
    choice = choose.disk(disk, "auto", variable="VMNET_DISK2")
    assert (choice.format, choice.guessed) == ("raw", False)
    assert choice.note == (
        "a raw disk, as at earlier starts, although it contains a qcow2 image; if you have "
        "replaced the image, set VMNET_DISK2's format=qcow2"
    )
    header(disk, 0, b"KDMV\0\0\0\0")
    assert "run `setfattr -x user.vmnet.format disk`" in choose.disk(disk, "auto").note


def test_a_format_that_the_user_sets_replaces_the_record(tmp_path: Path) -> None:
    disk = create(tmp_path / "disk", "-f", "qcow2", "1M")
    record.write(disk, "raw", "db")
    assert choose.disk(disk, "auto").format == "raw"
    assert choose.disk(disk, "qcow2").format == "qcow2"
    disks.record_use((Disk(disk, "qcow2"),), "db")
    assert choose.disk(disk, "auto") == Choice("qcow2")


def test_a_copy_without_the_record_is_examined_again(tmp_path: Path) -> None:
    disk = create(tmp_path / "disk", "-f", "qcow2", "-b", "base", "-u", "-F", "raw", "1M")
    record.write(disk, "raw", "db")
    copy = tmp_path / "copy"
    copy.write_bytes(disk.read_bytes())
    assert choose.disk(disk, "auto").format == "raw"
    assert "refers to another file" in refused(copy).message


def test_only_images_to_which_the_vm_writes_are_recorded(tmp_path: Path) -> None:
    paths = {name: create(tmp_path / name, "1M") for name in ("own", "base", "read", "lost")}
    disks.record_use(
        (
            Disk(paths["own"], "qcow2", base=Base(paths["base"], "raw")),
            Disk(paths["read"], "raw", readonly=True),
            Disk(paths["lost"], "raw", ephemeral=True),
        ),
        "db",
    )
    found = {name: record.last_vm(path) for name, path in paths.items()}
    assert found == {"own": "db", "base": "", "read": "", "lost": ""}


def test_a_file_system_without_records_is_no_obstacle(tmp_path: Path) -> None:
    record.write(Path("/proc/version"), "raw", "db")
    assert not record.is_raw(Path("/proc/version"))
    assert not record.is_raw(tmp_path / "absent")


def test_a_locked_image_names_the_vm_and_the_process(tmp_path: Path) -> None:
    disk = create(tmp_path / "disk", "1M")
    record.write(disk, "raw", "db\n")
    own = {disk: "VMNET_DISK3"}
    with subprocess.Popen(
        (sys.executable, "-c", _WRITER, str(disk)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "locked\n"
        with pytest.raises(MachineError) as caught:
            lock.require_free((Disk(disk, "raw"),), own)
        assert caught.value.message == (
            f"VMNET_DISK3={disk} is in use by another VM: process {writer.pid} (qemu-system-x86)"
        )
        writer.communicate(timeout=WAIT)
    lock.require_free((Disk(disk, "raw"),), own)


def test_a_vm_in_another_container_is_known_from_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container sees only its own processes."""
    disk = create(tmp_path / "disk", "1M")
    record.write(disk, "raw", "db\n")
    monkeypatch.setattr(lock, "_is_locked", lambda path, writable: True)
    with pytest.raises(MachineError) as caught:
        lock.require_free((Disk(disk, "raw"),))
    assert caught.value.message == (
        f"the disk {disk} is in use by another VM: 'db\\n', which was last started with it"
    )
