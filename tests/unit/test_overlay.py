"""Overlays, blank images and enlarged images, made by the real qemu-img."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.lab.wait import WAIT
from vmnet import process, testing
from vmnet.errors import MachineError, SettingsError
from vmnet.lifecycle import disks
from vmnet.model.devices import Disk
from vmnet.planning.booting.boot import boot_devices
from vmnet.planning.storage.image import lock
from vmnet.process import Outcome

_MIB = 1 << 20


def qemu_img(*words: object) -> str:
    done = subprocess.run(
        ["qemu-img", *map(str, words)], check=True, capture_output=True, text=True, timeout=WAIT
    )
    return done.stdout


def info(image: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(qemu_img("info", "--output=json", image))
    return found


def raw(path: Path) -> Path:
    path.write_bytes(b"boot".ljust(4 * _MIB, b"\0"))
    return path


def planned(image: Path, state: Path, **environ: str) -> Disk:
    settings = {"VMNET_DISK": str(image), "VMNET_DISK_STATE": str(state), **environ}
    (disk,) = boot_devices(testing.settings(settings)).devices
    assert isinstance(disk, Disk)
    return disk


def made(image: Path, state: Path, **environ: str) -> Disk:
    disk = planned(image, state, **environ)
    disks.prepare((disk,), ExitStack())
    return disk


OVERLAY = {"VMNET_DISK_MODE": "overlay"}


def test_the_first_start_makes_the_overlay_and_the_next_uses_it(tmp_path: Path) -> None:
    image = raw(tmp_path / "image")
    first = made(image, tmp_path / "state", **OVERLAY)
    found = info(first.path)
    assert (found["format"], found["virtual-size"]) == ("qcow2", 4 * _MIB)
    assert (found["backing-filename"], found["backing-filename-format"]) == (str(image), "raw")
    assert first.path.stat().st_mode & 0o777 == 0o600
    again = planned(image, tmp_path / "state", **OVERLAY)
    assert (again.path, again.base, again.preparation) == (first.path, first.base, None)


def test_an_image_may_be_read_only_and_in_another_format(tmp_path: Path) -> None:
    image = tmp_path / "image.vmdk"
    qemu_img("create", "-q", "-f", "vmdk", image, "8M")
    image.chmod(0o400)
    disk = made(image, tmp_path / "state", **OVERLAY)
    assert disk.base is not None
    assert disk.base.format == "vmdk"
    assert info(disk.path)["virtual-size"] == 8 * _MIB


def another_content(image: Path) -> None:
    image.write_bytes(bytes(8 * _MIB))


def another_date(image: Path) -> None:
    os.utime(image, (0, 10**9))


@pytest.mark.parametrize("change", [another_content, another_date])
def test_an_overlay_of_another_image_is_refused(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    image = raw(tmp_path / "image")
    disk = made(image, tmp_path / "state", **OVERLAY)
    change(image)
    with pytest.raises(MachineError, match=f"{disk.path} was not made on VMNET_DISK={image}"):
        planned(image, tmp_path / "state", **OVERLAY)
    disk.path.unlink()
    assert planned(image, tmp_path / "state", **OVERLAY).preparation is not None


def test_an_overlay_without_a_record_is_refused(tmp_path: Path) -> None:
    image = raw(tmp_path / "image")
    made(image, tmp_path / "state", **OVERLAY)
    (tmp_path / "state/overlay.json").unlink()
    with pytest.raises(MachineError, match="was not made on"):
        planned(image, tmp_path / "state", **OVERLAY)


def test_an_overlay_that_cannot_be_used(tmp_path: Path) -> None:
    image = raw(tmp_path / "image")
    overlay = made(image, tmp_path / "state", **OVERLAY).path
    overlay.write_bytes(bytes(1 << 16))
    with pytest.raises(MachineError, match=f"{overlay} of VMNET_DISK={image} can't be") as caught:
        planned(image, tmp_path / "state", **OVERLAY)
    assert f"`rm {overlay}` discards what the guest has written" in caught.value.hint
    overlay.write_bytes(b"")
    with pytest.raises(MachineError, match="is empty: the start that made it was killed") as caught:
        planned(image, tmp_path / "state", **OVERLAY)
    assert caught.value.hint.startswith(f"`rm {overlay}`")


def test_a_folder_that_cannot_keep_the_overlay(tmp_path: Path) -> None:
    image, state = raw(tmp_path / "image"), tmp_path / "state"
    state.touch()
    refusal = f"VMNET_DISK_STATE={state} can't keep the overlay of VMNET_DISK={image}: "
    with pytest.raises(MachineError, match=refusal):
        planned(image, state, **OVERLAY)


def test_an_image_that_refers_to_another_has_no_overlay(tmp_path: Path) -> None:
    base, top = raw(tmp_path / "base"), tmp_path / "top.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, top)
    with pytest.raises(MachineError, match="can't be below an overlay"):
        planned(top, tmp_path / "state", VMNET_DISK_FORMAT="qcow2", **OVERLAY)


def test_an_overlay_grows(tmp_path: Path) -> None:
    image, state = raw(tmp_path / "image"), tmp_path / "state"
    disk = made(image, state, VMNET_DISK_SIZE="8M", **OVERLAY)
    assert info(disk.path)["virtual-size"] == 8 * _MIB
    made(image, state, VMNET_DISK_SIZE="16M", **OVERLAY)
    assert info(disk.path)["virtual-size"] == 16 * _MIB
    assert image.stat().st_size == 4 * _MIB


@pytest.mark.parametrize(("requested", "expected"), [("auto", "qcow2"), ("raw", "raw")])
def test_a_blank_disk(requested: str, expected: str, tmp_path: Path) -> None:
    environ = {"VMNET_DISK_FORMAT": requested, "VMNET_DISK_SIZE": "8M"}
    disk = made(tmp_path / "disk", tmp_path, **environ)
    found = info(disk.path)
    assert (found["format"], found["virtual-size"]) == (expected, 8 * _MIB)
    assert planned(tmp_path / "disk", tmp_path, **environ).preparation is None


def test_a_disk_grows_and_never_shrinks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = raw(tmp_path / "disk")
    made(image, tmp_path, VMNET_DISK_SIZE="8M")
    assert image.stat().st_size == 8 * _MIB
    assert image.read_bytes()[:4] == b"boot"
    with caplog.at_level("INFO"):
        assert planned(image, tmp_path, VMNET_DISK_SIZE="4M").preparation is None
    assert "8388608 bytes" in caplog.text


@pytest.mark.parametrize(
    ("name", "environ", "error", "message"),
    [
        ("disk", {"VMNET_DISK_MODE": "ephemeral"}, SettingsError, "only read"),
        ("disk.vdi", {}, MachineError, "in the format vdi"),
        ("no/disk", {}, MachineError, "can't be created in"),
    ],
)
def test_sizes_that_are_refused(
    name: str, environ: dict[str, str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    raw(tmp_path / "disk")
    qemu_img("create", "-q", "-f", "vdi", tmp_path / "disk.vdi", "4M")
    with pytest.raises(error, match=message):
        planned(tmp_path / name, tmp_path, VMNET_DISK_SIZE="8M", **environ)


def test_a_failed_start_removes_only_what_it_created(tmp_path: Path) -> None:
    image, state = raw(tmp_path / "image"), tmp_path / "state"
    undo = ExitStack()
    disks.prepare((planned(image, state, **OVERLAY),), undo)
    assert len(list(state.iterdir())) == 2
    undo.close()
    assert list(state.iterdir()) == []
    grown = planned(image, state, VMNET_DISK_SIZE="8M")
    disks.prepare((grown,), undo)
    undo.close()
    assert image.stat().st_size == 8 * _MIB


def test_an_image_that_appeared_since_is_not_replaced(tmp_path: Path) -> None:
    disk = planned(tmp_path / "disk", tmp_path, VMNET_DISK_SIZE="8M")
    raw(disk.path)
    message = f"another start has just created the disk {disk.path}"
    with pytest.raises(MachineError, match=message), ExitStack() as undo:
        disks.prepare((disk,), undo)
    assert disk.path.stat().st_size == 4 * _MIB
    assert list(tmp_path.iterdir()) == [disk.path]


def test_an_image_has_its_name_only_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that is killed meanwhile leaves nothing that the next start would take for a disk."""
    run = process.run
    seen: list[str] = []

    def killed(argv: Sequence[str]) -> Outcome:
        run(argv)
        seen.extend(path.name for path in (tmp_path / "state").iterdir())
        raise KeyboardInterrupt

    image = raw(tmp_path / "image")
    disk = planned(image, tmp_path / "state", **OVERLAY)
    monkeypatch.setattr(process, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        disks.prepare((disk,), ExitStack())
    (name,) = seen
    assert name.startswith(".vmnet-")
    monkeypatch.setattr(process, "run", run)
    assert info(made(image, tmp_path / "state", **OVERLAY).path)["format"] == "qcow2"


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    disk = planned(tmp_path / "disk", tmp_path, VMNET_DISK_SIZE="8M")
    disks.prepare((disk,), ExitStack())
    assert info(disk.path)["virtual-size"] == 8 * _MIB
    assert list(tmp_path.iterdir()) == [disk.path]
    with pytest.raises(MachineError, match="another start has just created"):
        disks.prepare((disk,), ExitStack())


def test_a_failed_start_leaves_a_new_image_that_another_vm_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = planned(tmp_path / "disk", tmp_path, VMNET_DISK_SIZE="8M")
    with ExitStack() as undo:
        disks.prepare((disk,), undo)
        monkeypatch.setattr(lock, "is_used", lambda path: path == disk.path)
    assert disk.path.exists()


def test_the_reason_of_qemu_img_is_reported(tmp_path: Path) -> None:
    disk = planned(tmp_path / "disk", tmp_path, VMNET_DISK_SIZE="9999999T")
    with pytest.raises(MachineError) as caught, ExitStack() as undo:
        disks.prepare((disk,), undo)
    assert f"can't prepare the disk {disk.path}: qemu-img: " in caught.value.message
    assert not disk.path.exists()


def test_qemu_img_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find", lambda _program: None)
    with pytest.raises(MachineError, match="qemu-img is not installed"):
        planned(tmp_path / "disk", tmp_path, VMNET_DISK_SIZE="8M")


def test_an_image_that_a_vm_writes_to_is_refused_below_an_overlay(tmp_path: Path) -> None:
    image = raw(tmp_path / "image")
    disk = planned(image, tmp_path / "state", **OVERLAY)
    lock.require_free((disk,), {image: "VMNET_DISK"})
    argv = ["qemu-io", "-f", "raw", str(image)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write("length\n")
        writer.stdin.flush()
        assert "4 MiB" in writer.stdout.readline()
        with pytest.raises(MachineError, match="in use by another VM"):
            lock.require_free((disk,), {image: "VMNET_DISK"})
        writer.stdin.close()
