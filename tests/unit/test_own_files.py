"""The files of the container that a VM uses."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.lab.images.loop import loop_device
from tests.unit.images import create
from vmnet import testing
from vmnet.errors import SettingsError
from vmnet.model.devices import Base, Cdrom, Device, Disk
from vmnet.model.firmware import Firmware, FirmwareVariables
from vmnet.model.machine import Kernel
from vmnet.planning.storage import block_devices, disks, own_files
from vmnet.planning.storage.own_files import OwnFile
from vmnet.settings import values
from vmnet.settings.table import optional, setting

NONE = Firmware()


def of(
    *devices: Device, kernel: Kernel | None = None, firmware: Firmware = NONE, **environ: str
) -> set[str]:
    settings = testing.settings(environ)
    return set(map(str, own_files.of(settings, devices, kernel, firmware)))


def test_files_of_settings(tmp_path: Path) -> None:
    secret = setting("VMNET_TOKEN", values.text, "", "a token", secret=True)
    row = optional("VMNET_PLUGIN", values.listed(values.absolute_path), "files of a plugin")
    (tmp_path / "token").write_text("x")
    environ = {
        "VMNET_TOKEN_FILE": f"{tmp_path}/token",
        "VMNET_PLUGIN": "/a,/b",
        "VMNET_INITRD": "/initrd",
        "VMNET_FIRMWARE": "/OVMF.fd",
        "VMNET_APPEND": "root=/dev/vda",
    }
    found = own_files.of(testing.settings(environ, secret, row), (), None, NONE)
    assert set(map(str, found)) == {
        f"VMNET_TOKEN_FILE={tmp_path}/token",
        "VMNET_PLUGIN=/a",
        "VMNET_PLUGIN=/b",
        "VMNET_INITRD=/initrd",
        "VMNET_FIRMWARE=/OVMF.fd",
    }


def test_files_of_devices(tmp_path: Path) -> None:
    base = create(tmp_path / "base", "-f", "raw", "1M")
    top = create(tmp_path / "top", "-f", "qcow2", "-b", str(base), "-F", "raw", "1M")
    found = of(
        Disk(top, "qcow2", backed=True),
        Disk(Path("/state/overlay2.qcow2"), "qcow2", base=Base(Path("/image"), "raw")),
        Disk(Path("/run/seed"), "raw"),
        Cdrom(Path("/cd")),
        VMNET_DISK=str(top),
        VMNET_DISK2="/image,mode=overlay",
        VMNET_CDROM="/cd",
    )
    assert found == {
        "VMNET_DISK2=/state/overlay2.qcow2",
        "VMNET_DISK2=/image",
        f"VMNET_DISK={top}",
        f"VMNET_DISK={base}",
        "a plugin's disk=/run/seed",
        "VMNET_CDROM=/cd",
    }


def test_files_of_the_machine() -> None:
    variables = FirmwareVariables(Path("/state/v.fd"), Path("/usr/v.fd"))
    firmware = Firmware("uefi", code=Path("/usr/code.fd"), variables=variables)
    found = of(kernel=Kernel(Path("/demo/vmlinuz"), Path("/demo/initrd")), firmware=firmware)
    assert found == {
        "VMNET_DEMO=/demo/vmlinuz",
        "VMNET_DEMO=/demo/initrd",
        "the firmware=/usr/code.fd",
        "the firmware=/state/v.fd",
        "the firmware=/usr/v.fd",
    }


WAYS = ("same", "symbolic", "hard")


@pytest.fixture(params=WAYS)
def two(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """Two paths of a file: equal, by a symbolic link, or by a hard link."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(bytes(1 << 20))
    if request.param == "symbolic":
        second.symlink_to(first)
    elif request.param == "hard":
        second.hardlink_to(first)
    else:
        second = first
    return first, second


def require_apart(**environ: str) -> None:
    settings = testing.settings(environ)
    devices: list[Device] = [*disks.plan(settings)]
    if "VMNET_CDROM" in environ:
        devices.append(Cdrom(Path(environ["VMNET_CDROM"])))
    own_files.require_apart(own_files.of(settings, devices, None, NONE))


@pytest.mark.parametrize("options", ["", ",readonly=on", ",mode=ephemeral", ",mode=overlay"])
def test_a_disk_that_the_guest_writes_is_no_other_disk(
    two: tuple[Path, Path], options: str
) -> None:
    first, second = two
    with pytest.raises(SettingsError) as caught:
        require_apart(VMNET_DISK=str(first), VMNET_DISK3=f"{second}{options}")
    assert f"VMNET_DISK={first} and VMNET_DISK3={second} are the same" in caught.value.message
    with pytest.raises(SettingsError, match="are the same file or device"):
        require_apart(VMNET_DISK2=f"{first}{options}", VMNET_DISK3=str(second))


@pytest.mark.parametrize("variable", ["VMNET_CDROM", "VMNET_KERNEL", "VMNET_FIRMWARE"])
def test_a_disk_that_the_guest_writes_is_no_other_file(
    two: tuple[Path, Path], variable: str
) -> None:
    first, second = two
    with pytest.raises(SettingsError, match=f"and {variable}={second} are the same file or device"):
        require_apart(**{"VMNET_DISK2": str(first), variable: str(second)})


def test_disks_may_share_what_they_only_read(two: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = map(str, two)
    state = str(tmp_path / "state")
    require_apart(
        VMNET_DISK=first,
        VMNET_DISK_MODE="overlay",
        VMNET_DISK2=f"{second},mode=overlay",
        VMNET_DISK3=f"{first},readonly=on",
        VMNET_DISK4=f"{second},mode=ephemeral",
        VMNET_CDROM=first,
        VMNET_DISK_STATE=state,
    )


def test_a_backing_file_is_no_disk(tmp_path: Path) -> None:
    base = create(tmp_path / "base", "-f", "raw", "1M")
    top = create(tmp_path / "top", "-f", "qcow2", "-b", str(base), "-F", "raw", "1M")
    with pytest.raises(SettingsError, match="are the same file or device"):
        require_apart(VMNET_DISK=str(base), VMNET_DISK2=f"{top},format=qcow2")


def test_two_blank_disks_at_one_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="are the same file or device"):
        require_apart(VMNET_DISK2=f"{tmp_path}/new,size=1M", VMNET_DISK3=f"{tmp_path}/new,size=1M")


def test_a_block_device_by_two_names(tmp_path: Path) -> None:
    names = [tmp_path / "a", tmp_path / "b"]
    for name in names:
        os.mknod(name, stat.S_IFBLK | 0o600, os.makedev(7, 250))
    files = [OwnFile(f"VMNET_DISK{n}", name, writes=True) for n, name in enumerate(names, 2)]
    with pytest.raises(SettingsError, match=r"VMNET_DISK2=.* and VMNET_DISK3=.* are the same"):
        own_files.require_apart(files)


def test_a_disk_and_its_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_devices, "_SYS", tmp_path / "sys")
    users = {}
    for number, name in enumerate(("disk", "disk1", "disk2"), 240):
        os.mknod(tmp_path / name, stat.S_IFBLK | 0o600, os.makedev(240, number))
        users[name] = OwnFile(f"VMNET_{name.upper()}", tmp_path / name, writes=True)
        if name != "disk":
            folder = tmp_path / "sys/240:240" / name
            folder.mkdir(parents=True)
            (folder / "dev").write_text(f"240:{number}\n")
            (folder / "partition").write_text(f"{number - 240}\n")
    own_files.require_apart([users["disk1"], users["disk2"]])
    for name in ("disk1", "disk2"):
        for pair in ([users["disk"], users[name]], [users[name], users["disk"]]):
            with pytest.raises(SettingsError, match="are the same file or device"):
                own_files.require_apart(pair)


def test_a_loop_device_and_its_file(tmp_path: Path) -> None:
    image, other = tmp_path / "image", tmp_path / "other"
    for path in (image, other):
        path.write_bytes(bytes(1 << 20))
    with loop_device(image) as device:
        disk = OwnFile("VMNET_DISK2", Path(device), writes=True)
        own_files.require_apart([disk, OwnFile("VMNET_DISK3", other, writes=True)])
        with pytest.raises(SettingsError, match="are the same file or device"):
            own_files.require_apart([disk, OwnFile("VMNET_DISK3", image, writes=True)])
