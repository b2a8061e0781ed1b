"""The user that QEMU runs as, chosen from the permissions of real files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from vmnet_qemu import user
from vmnet_qemu.arguments import Options
from vmnet_qemu.rows import ROWS

from vmnet import testing
from vmnet.api import Disk, Kernel, Machine, MachineError, User

PROGRAM = Path("/bin/true")
ROOT, UNPRIVILEGED = User(0, 0), User(64055, 64055)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def file(folder: Path, mode: int) -> Path:
    made = folder / f"{mode:o}"
    made.touch()
    made.chmod(mode)
    return made


def booting(kernel: Path) -> Machine:
    return testing.machine(kernel=Kernel(kernel))


def choose(requested: str, machine: Machine, extra: tuple[str, ...] = ()) -> User:
    settings = testing.settings({"VMNET_USER": requested}, *ROWS)
    return user.choose(PROGRAM, machine, Options(settings, extra=extra))


def test_the_unprivileged_user_if_all_files_are_readable(folder: Path) -> None:
    machine = booting(file(folder, 0o644))
    assert choose("auto", machine) == UNPRIVILEGED
    assert os.geteuid() == os.getegid() == 0, "this process is root again"


def test_root_if_a_file_is_unreadable_which_is_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kernel = file(folder, 0o600)
    assert choose("auto", booting(kernel)) == ROOT
    assert f"user 64055 cannot access {kernel}" in caplog.text
    assert "root (without capabilities)" in caplog.text


@pytest.mark.parametrize("ephemeral", [False, True])
def test_vmnet_opens_a_disk_so_its_mode_does_not_matter(folder: Path, ephemeral: bool) -> None:
    machine = testing.machine(devices=(Disk(file(folder, 0o600), "raw", ephemeral=ephemeral),))
    assert choose("auto", machine) == UNPRIVILEGED


def test_a_disk_with_a_backing_file_is_opened_by_name(folder: Path) -> None:
    disk = Disk(file(folder, 0o644), "qcow2", backed=True)
    assert choose("auto", testing.machine(devices=(disk,))) == ROOT
    disk = evolve(disk, path=file(folder, 0o666))
    assert choose("auto", testing.machine(devices=(disk,))) == UNPRIVILEGED


def test_an_overlay_needs_a_folder_for_temporary_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    machine = testing.machine(devices=(Disk(file(folder, 0o644), "raw", ephemeral=True),))
    assert choose("auto", machine) == ROOT


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-drive", "if=virtio,format=raw,file={private}"), ROOT),
        (("-drive", "if=virtio,format=raw,file={public}"), UNPRIVILEGED),
        (("-serial", "unix:{folder}/serial.sock,server=on"), ROOT),
        (("-serial", "unix:/tmp/serial.sock,server=on"), UNPRIVILEGED),
        (("-fsdev", "local,id=share,path={folder},security_model=none"), ROOT),
        (("-object", "secret,id=vnc,file={readable}"), UNPRIVILEGED),
        (("-object", "secret,id=vnc,file={private}"), ROOT),
        (("-object", "tls-creds-x509,id=tls,dir={folder},endpoint=server"), UNPRIVILEGED),
        (("-object", "memory-backend-file,id=ram,size=1M,mem-path={readable}"), ROOT),
        (("-append", "console=ttyS0 root=/dev/vda"), UNPRIVILEGED),
        (("-drive", "file=https://192.0.2.1/disk"), UNPRIVILEGED),
        (("-device", "usb-tablet"), UNPRIVILEGED),
    ],
)
def test_paths_in_the_users_own_arguments_count(
    folder: Path, words: tuple[str, ...], expected: User
) -> None:
    names = {"private": file(folder, 0o600), "public": file(folder, 0o666), "folder": folder}
    names["readable"] = file(folder, 0o444)
    extra = tuple(word.format(**names) for word in words)
    assert choose("auto", testing.machine(), extra) == expected


def test_a_named_user_must_be_able_to_open_the_files(folder: Path) -> None:
    mine = file(folder, 0o600)
    os.chown(mine, 1234, 1234)
    assert choose("1234", booting(mine)) == User(1234, 1234)
    assert choose("root", booting(mine)) == ROOT
    with pytest.raises(MachineError, match=f"VMNET_USER=4321:1: user 4321 cannot access {mine}"):
        choose("4321:1", booting(mine))


def test_qemu_gets_the_group_of_kvm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm = folder / "kvm"
    os.mknod(kvm, 0o020660, os.makedev(1, 3))
    os.chown(kvm, 0, 993)
    kvm.chmod(0o660)
    monkeypatch.setattr(user, "_KVM", kvm)
    machine = testing.machine(accelerator="kvm")
    assert choose("auto", machine) == User(64055, 64055, (993,))
