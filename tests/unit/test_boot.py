"""Boot devices are checked: a missing, unreadable or unsafe file is refused with a remedy."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from tests.unit.unprivileged import open_folder, unprivileged
from vmnet import testing
from vmnet.errors import MachineError, SettingsError
from vmnet.model.devices import Cdrom, Disk
from vmnet.model.machine import Kernel
from vmnet.planning import kernel_image
from vmnet.planning.booting.boot import Boot, boot_devices


def boot(**environ: str | Path) -> Boot:
    return boot_devices(testing.settings({name: str(value) for name, value in environ.items()}))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"\0" * 512)
    return path


def test_a_disk(disk: Path) -> None:
    assert boot(VMNET_DISK=disk) == Boot((Disk(disk, "raw", guessed=True),))


def test_a_disk_of_a_declared_format(disk: Path) -> None:
    assert boot(VMNET_DISK=disk, VMNET_DISK_FORMAT="raw") == Boot((Disk(disk, "raw"),))


def test_an_ephemeral_disk(disk: Path) -> None:
    assert boot(VMNET_DISK=disk, VMNET_DISK_MODE="ephemeral").devices == (
        Disk(disk, "raw", ephemeral=True),
    )


def test_a_disk_before_a_cd(disk: Path) -> None:
    devices = boot(VMNET_DISK=disk, VMNET_CDROM=disk).devices
    assert devices == (Disk(disk, "raw", guessed=True), Cdrom(disk))


def test_a_file_that_is_no_image_is_refused(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.write(b"\x1f\x8b\x08")
    with pytest.raises(MachineError, match=r"VMNET_DISK=.* is gzip data"):
        boot(VMNET_DISK=disk)
    with pytest.raises(MachineError, match=r"VMNET_CDROM=.* is gzip data"):
        boot(VMNET_CDROM=disk)


def test_the_note_about_a_format_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "disk.vhdx"
    path.write_bytes(b"vhdxfile".ljust(512, b"\0"))
    with caplog.at_level("INFO"):
        assert boot(VMNET_DISK=path).devices == (Disk(path, "vhdx"),)
    assert "`qemu-img convert -f vhdx -O qcow2 disk.vhdx disk.vhdx.qcow2`" in caplog.text


def test_a_kernel(disk: Path) -> None:
    assert boot(VMNET_KERNEL=disk).kernel == Kernel(disk)
    assert boot(VMNET_KERNEL=disk, VMNET_INITRD=disk, VMNET_APPEND="quiet").kernel == Kernel(
        disk, disk, "quiet"
    )


def pe(machine: int) -> bytes:
    """Return the beginning of an EFI program, as kernels with an EFI stub have it."""
    return b"MZ".ljust(60, b"\0") + struct.pack("<I4sH", 64, b"PE\0\0", machine)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pe(0x8664), "x86_64"),
        (pe(0x014C), "x86_64"),
        (pe(0xAA64), "aarch64"),
        (pe(0x5064), None),
        (bytes(56) + b"ARM\x64", "aarch64"),
        (bytes(0x202) + b"HdrS", "x86_64"),
        (b"\x7fELF".ljust(18, b"\0") + b"\xb7\0", "aarch64"),
        (b"\x1f\x8b", None),
        (b"MZ".ljust(60, b"\0") + b"\xff\xff\xff\xff", None),
        (b"", None),
    ],
)
def test_the_architecture_of_a_kernel(content: bytes, expected: str | None, tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(content)
    assert kernel_image.architecture(path) == expected


def test_a_kernel_for_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(pe(0xAA64))
    with pytest.raises(MachineError, match=r"is a kernel for aarch64, but .* is x86_64") as caught:
        boot(VMNET_KERNEL=path, VMNET_ARCH="amd64")
    assert "set VMNET_ARCH=aarch64" in caught.value.hint
    assert boot(VMNET_KERNEL=path, VMNET_ARCH="arm64").kernel == Kernel(path)


@pytest.mark.parametrize("variable", ["VMNET_INITRD", "VMNET_APPEND"])
def test_settings_that_need_a_kernel(variable: str, disk: Path) -> None:
    with pytest.raises(SettingsError, match=f"{variable}=.* needs a kernel"):
        boot(**{"VMNET_DISK": disk, variable: disk})


def test_the_demonstration_if_no_disk_or_kernel_is_set(tmp_path: Path) -> None:
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).touch()
    found = boot(VMNET_DEMO=tmp_path)
    assert found.devices == ()
    assert found.kernel is not None
    assert (found.kernel.path, found.kernel.initrd) == (tmp_path / "vmlinuz", tmp_path / "initrd")
    assert "console=ttyS0" in found.kernel.append


@pytest.mark.parametrize("present", [(), ("vmlinuz",), ("initrd",)])
def test_nothing_to_boot(present: tuple[str, ...], tmp_path: Path) -> None:
    for name in present:
        (tmp_path / name).touch()
    with pytest.raises(MachineError, match="there is nothing to boot") as caught:
        boot(VMNET_DEMO=tmp_path)
    assert "-e VMNET_DISK=/disk.qcow2" in caught.value.hint


def test_a_cd_has_its_own_bus_and_place(disk: Path, tmp_path: Path) -> None:
    cd = tmp_path / "cd"
    cd.write_bytes(bytes(512))
    (device,) = boot(VMNET_CDROM=f"{cd},bus=sata,boot=2").devices
    assert device == Cdrom(cd, boot=2, bus="sata")
    with pytest.raises(SettingsError, match="VMNET_DISK2 and VMNET_CDROM have the same boot: 2"):
        boot(VMNET_DISK2=f"{disk},boot=2", VMNET_CDROM=f"{cd},boot=2")


FILES = ["VMNET_DISK", "VMNET_CDROM", "VMNET_KERNEL", "VMNET_INITRD"]


def with_kernel(variable: str, path: Path, disk: Path) -> dict[str, Path]:
    return {"VMNET_KERNEL": disk, variable: path}


@pytest.mark.parametrize("variable", FILES)
def test_a_missing_file(variable: str, tmp_path: Path, disk: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(MachineError) as caught:
        boot(**with_kernel(variable, absent, disk))
    assert caught.value.message == f"{variable}={absent}: there is no such file in the container"
    assert caught.value.hint == f"mount it: `-v /path/on/the/host:{absent}`"


@pytest.mark.parametrize("variable", FILES)
def test_a_path_below_a_file(variable: str, disk: Path) -> None:
    with pytest.raises(MachineError, match="Not a directory"):
        boot(**with_kernel(variable, disk / "below", disk))


@pytest.mark.parametrize("variable", FILES)
def test_an_unreadable_file(variable: str) -> None:
    with open_folder() as folder:
        kernel, secret = folder / "kernel", folder / "secret"
        kernel.touch()
        secret.touch(0o000)
        with unprivileged(), pytest.raises(MachineError) as caught:
            boot(**with_kernel(variable, secret, kernel))
    verb = "opened for writing" if variable == "VMNET_DISK" else "read"
    assert caught.value.message == f"{variable}={secret} can't be {verb}: Permission denied"
    assert "owner and mode" in caught.value.hint


def test_a_read_only_disk_must_be_ephemeral() -> None:
    with open_folder() as folder:
        disk = folder / "disk"
        disk.touch(0o444)
        with unprivileged():
            with pytest.raises(MachineError, match="can't be opened for writing") as caught:
                boot(VMNET_DISK=disk)
            assert boot(VMNET_DISK=disk, VMNET_DISK_MODE="ephemeral").devices == (
                Disk(disk, "raw", ephemeral=True),
            )
    assert "VMNET_DISK_MODE=overlay or ephemeral" in caught.value.hint


FOLDER = "Docker creates a folder for a missing `-v` source: check the path on the host"


@pytest.mark.parametrize(
    ("variable", "mode"),
    [
        pytest.param(
            "VMNET_DISK",
            "persistent",
        ),
        ("VMNET_DISK", "ephemeral"),
        ("VMNET_CDROM", "ephemeral"),
        ("VMNET_KERNEL", "ephemeral"),
        ("VMNET_INITRD", "ephemeral"),
    ],
)
def test_a_folder_instead_of_a_file(variable: str, mode: str, tmp_path: Path, disk: Path) -> None:
    with pytest.raises(MachineError) as caught:
        boot(**with_kernel(variable, tmp_path, disk), VMNET_DISK_MODE=mode)
    assert caught.value.message == f"{variable}={tmp_path} is neither a file nor a block device"
    assert caught.value.hint == FOLDER


@contextmanager
def within(seconds: float) -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_pipe_instead_of_a_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with within(1), pytest.raises(MachineError, match="is neither a file nor a block device"):
        boot(VMNET_CDROM=fifo)


def test_a_character_device() -> None:
    with pytest.raises(MachineError, match="VMNET_CDROM=/dev/null is neither"):
        boot(VMNET_CDROM="/dev/null")
