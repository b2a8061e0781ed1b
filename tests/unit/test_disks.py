"""The user's disks: their order, their options, and what two of them can't share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.images import create
from vmnet import testing
from vmnet.errors import MachineError, SettingsError
from vmnet.model.devices import Base, Disk
from vmnet.planning.storage import disks, io_uring
from vmnet.planning.storage.image import record
from vmnet.settings import core


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return made(tmp_path, "image")


def made(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(bytes(1 << 20))
    return path


def planned(**environ: str) -> list[Disk]:
    return disks.plan(testing.settings(environ))


def test_a_single_disk_leaves_the_boot_order_to_the_firmware(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io_uring, "obstacle", str)
    options = "serial=abc,cache=none,aio=io_uring,discard=off,iothread=on"
    assert planned(VMNET_DISK=f"{image},{options}") == [
        Disk(
            image,
            "raw",
            guessed=True,
            serial="abc",
            cache="none",
            aio="io_uring",
            discard=False,
            iothread=True,
        )
    ]


def test_threads_replace_io_uring_where_it_is_forbidden(
    image: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(io_uring, "obstacle", lambda: "seccomp")
    (disk,) = planned(VMNET_DISK2=f"{image},aio=io_uring")
    assert disk.aio == "threads"
    assert "VMNET_DISK2: threads instead of io_uring: seccomp" in caplog.text


def test_io_uring_can_be_disabled_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io_uring, "_DISABLED", tmp_path / "disabled")
    (tmp_path / "disabled").write_text("2\n")
    assert io_uring.obstacle() == "the host has kernel.io_uring_disabled=2"
    (tmp_path / "disabled").write_text("0\n")
    assert not io_uring.obstacle() or "refuses it" in io_uring.obstacle()


def test_several_disks_boot_in_the_order_of_their_variables(tmp_path: Path) -> None:
    paths = {name: made(tmp_path, name) for name in ("b", "a", "c")}
    found = planned(
        VMNET_DISK7=f"{paths['c']},boot=1,format=raw",
        VMNET_DISK2=f"{paths['a']},bus=sata,readonly=no",
        VMNET_DISK=str(paths["b"]),
    )
    assert [(disk.path.name, disk.boot) for disk in found] == [("b", 100), ("a", 101), ("c", 1)]


def test_a_read_only_disk_needs_no_permission_and_no_protection(image: Path) -> None:
    image.chmod(0o444)
    (disk,) = planned(VMNET_DISK2=f"{image},readonly=on")
    assert disk == Disk(image, "raw", readonly=True)


def test_each_disk_has_its_own_overlay(tmp_path: Path) -> None:
    first, second = made(tmp_path, "first"), made(tmp_path, "second")
    found = planned(
        VMNET_DISK=str(first),
        VMNET_DISK_MODE="overlay",
        VMNET_DISK2=f"{second},mode=overlay",
        VMNET_DISK_STATE=str(tmp_path / "state"),
    )
    assert [disk.path.name for disk in found] == ["overlay.qcow2", "overlay2.qcow2"]
    assert [disk.base for disk in found] == [Base(first, "raw"), Base(second, "raw")]


def test_a_folder_of_backing_files_counts_for_all_disks(tmp_path: Path) -> None:
    for name in ("own", "bases"):
        (tmp_path / name).mkdir()
    base = create(tmp_path / "bases" / "base", "-f", "raw", "1M")
    disk = create(tmp_path / "own" / "disk", "-f", "qcow2", "-b", str(base), "-F", "raw", "1M")
    environ = {"VMNET_DISK2": f"{disk},format=qcow2"}
    with pytest.raises(MachineError, match="is in another folder"):
        planned(**environ)
    (found,) = planned(**environ, VMNET_DISK_BACKING=f"/images,{tmp_path}/bases")
    assert found.backed


def test_a_raw_disk_that_looks_like_another_image_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The user may have replaced the image, and the guest does not boot."""
    disk = create(tmp_path / "disk", "-f", "qcow2", "1M")
    record.write(disk, "raw", "db")
    assert [found.format for found in planned(VMNET_DISK=str(disk))] == ["raw"]
    assert "if you have replaced the image, set VMNET_DISK_FORMAT=qcow2" in caplog.text


def test_a_further_disk_can_be_created(tmp_path: Path) -> None:
    (disk,) = planned(VMNET_DISK3=f"{tmp_path}/new.qcow2,size=1G")
    assert disk.preparation is not None
    assert disk.preparation.creates


def test_errors_name_the_variable_and_its_own_options(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(bytes(700))
    with pytest.raises(MachineError, match=f"^VMNET_DISK2={broken} is not a disk image") as caught:
        planned(VMNET_DISK2=str(broken))
    assert "VMNET_DISK2's format=raw serves it unchanged" in caught.value.hint
    with pytest.raises(MachineError, match="VMNET_DISK4=/absent: there is no such file"):
        planned(VMNET_DISK4="/absent")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("serial=x", "serial=x"), "VMNET_DISK and VMNET_DISK2 have the same serial: x"),
        (("boot=3", "boot=3"), "VMNET_DISK and VMNET_DISK2 have the same boot: 3"),
    ],
)
def test_two_disks_share_no_serial_and_no_place(
    tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    first, second = made(tmp_path, "first"), made(tmp_path, "second")
    environ = {"VMNET_DISK": f"{first},{options[0]}", "VMNET_DISK2": f"{second},{options[1]}"}
    with pytest.raises(SettingsError) as caught:
        planned(**environ)
    assert caught.value.message == message


def test_readonly_excludes_the_variables_of_the_first_disk(image: Path) -> None:
    with pytest.raises(SettingsError, match="is readonly, which excludes a mode and a size"):
        planned(VMNET_DISK=f"{image},readonly=on", VMNET_DISK_SIZE="2M")


def test_every_variable_of_a_disk_is_read() -> None:
    named = [row.name for row in core.CORE if row.name.startswith("VMNET_DISK")]
    rows = [name for name in named if name.count("_") == 1]
    assert rows == [row.name for row in (core.DISK, *core.FURTHER_DISKS)]
