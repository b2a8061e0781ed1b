"""The checks that a start and `vmnet check` share: privileges, and disks that another VM uses."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.images import create
from tests.unit.test_image_chain import overlay
from vmnet import engine
from vmnet.errors import MachineError, PluginError, PrivilegeError
from vmnet.model.delivery import Daemon, Delivery, File
from vmnet.model.devices import Base, Disk
from vmnet.planning import capabilities, preflight
from vmnet.planning.storage.state_folder import StateFolder

# QEMU's locks of a disk that it writes: it uses permissions 0, 1 and 3, and denies 1 and 3.
WRITER, READER = (100, 101, 103, 201, 203), (100, 201)
LOCK = struct.Struct("hhqqi4x")
UNUSED = StateFolder(Path("/var/lib/vmnet"))


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A status file of a process with all capabilities, on the engine Docker."""
    path = tmp_path / "status"
    path.write_text("Name:\tvmnet\nCapEff:\t000001ffffffffff\n")
    ports = tmp_path / "ports"
    ports.write_text("1024\n")
    monkeypatch.setattr(capabilities, "_STATUS", path)
    monkeypatch.setattr(capabilities, "_FIRST_UNPRIVILEGED_PORT", ports)
    monkeypatch.setattr(engine, "name", lambda: "docker")
    return path


def without(*names: str) -> str:
    bits = sum(1 << capabilities.NEEDED[name].number for name in names)
    return f"CapEff:\t{(1 << 41) - 1 & ~bits:016x}\n"


def failures(*capability: str) -> list[str]:
    """Return the messages of the checks that fail for a daemon that needs a capability."""
    daemon = Daemon("the server", ("server",), Path("/run/pid"), capabilities=capability)
    found = []
    delivery = Delivery("test", daemons=(daemon,))
    for _, check in (
        *preflight.before_planning(1),
        *after_planning((delivery,), (), {}),
    ):
        try:
            check()
        except PrivilegeError as error:
            found.append(f"{error.message}; {error.hint}")
    return found


def after_planning(
    deliveries: tuple[Delivery, ...],
    devices: tuple[Disk, ...],
    own: dict[Path, str],
    state: StateFolder = UNUSED,
) -> Iterator[preflight.Check]:
    return preflight.after_planning(deliveries, devices, own, state)


def named(path: Path) -> dict[Path, str]:
    """Return the variable of the user's own disk."""
    return {path: "VMNET_DISK"}


def test_net_admin_is_needed_by_the_bridge(status: Path) -> None:
    capabilities.require("NET_ADMIN", "the bridge")
    status.write_text(without("NET_ADMIN"))
    assert failures() == []
    with pytest.raises(PrivilegeError) as caught:
        capabilities.require("NET_ADMIN", "the bridge")
    assert f"{caught.value.message}; {caught.value.hint}" == (
        "the container lacks the capability NET_ADMIN, which the bridge needs; "
        "run the container with `--cap-add NET_ADMIN`, or set `-e VMNET_BRIDGE=auto,passt` for a "
        "user-mode network"
    )


def test_a_daemon_names_what_it_needs(status: Path) -> None:
    status.write_text(without("NET_RAW"))
    assert failures() == []
    assert failures("NET_RAW") == [
        "the container lacks the capability NET_RAW, which the server needs; "
        "run the container with `--cap-add NET_RAW`"
    ]


def test_all_missing_capabilities_are_named_at_once(status: Path) -> None:
    """A restart policy would reveal one after another."""
    status.write_text(without("NET_RAW", "NET_BIND_SERVICE"))
    assert failures("NET_BIND_SERVICE", "NET_RAW") == [
        "the container lacks the capabilities NET_BIND_SERVICE, which the server needs, "
        "and NET_RAW, which the server needs; "
        "run the container with `--cap-add NET_BIND_SERVICE --cap-add NET_RAW`"
    ]


def test_an_unknown_capability_is_an_error_of_the_plugin() -> None:
    with pytest.raises(PluginError, match="the server needs NET_ROW, which is not a capability"):
        failures("NET_ROW")


def test_ports_may_be_unprivileged(status: Path) -> None:
    """Docker sets ip_unprivileged_port_start to 0 in its containers."""
    status.write_text(without("NET_BIND_SERVICE"))
    assert len(failures("NET_BIND_SERVICE")) == 1
    (status.parent / "ports").write_text("0\n")
    assert failures("NET_BIND_SERVICE") == []


def test_another_user_than_root_is_refused_in_one_sentence(
    status: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (message,) = failures()
    assert message.startswith("vmnet runs as user 1000, but only root can have the capabilities ")


@contextmanager
def locked(path: Path, locks: tuple[int, ...]) -> Iterator[None]:
    """Hold locks as QEMU does: shared locks of single bytes, which belong to the open file."""
    fd = os.open(path, os.O_RDWR)
    try:
        for byte in locks:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
        yield
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("locks", "ephemeral", "is_refused"),
    [
        (WRITER, False, True),
        (WRITER, True, True),
        (READER, False, True),
        (READER, True, False),
        ((), False, False),
    ],
)
def test_a_disk_that_another_vm_uses(
    tmp_path: Path, locks: tuple[int, ...], ephemeral: bool, is_refused: bool
) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(512))
    checks = after_planning((), (Disk(path, "raw", ephemeral),), named(path))
    with locked(path, locks):
        if is_refused:
            with pytest.raises(MachineError, match=f"VMNET_DISK={path} is in use by another VM"):
                preflight.require(checks)
        else:
            preflight.require(checks)


@pytest.mark.parametrize("locks", [WRITER, READER])
@pytest.mark.parametrize("level", [0, 1])
def test_a_backing_file_that_another_vm_uses(
    tmp_path: Path, locks: tuple[int, ...], level: int
) -> None:
    """A VM only reads it, so another VM may read it, too, but not write it."""
    base = create(tmp_path / "base", "-f", "raw", "1M")
    middle = overlay(tmp_path / "middle", base.name, "raw")
    top = overlay(tmp_path / "top", middle)
    disk = Disk(top, "qcow2", backed=True)
    path = (base, middle)[level]
    with locked(path, locks):
        if locks is READER:
            preflight.require(after_planning((), (disk,), named(top)))
            return
        message = f"{path}, to which VMNET_DISK={top} refers, is in use by another VM"
        with pytest.raises(MachineError, match=f"^{message}"):
            preflight.require(after_planning((), (disk,), named(top)))


def test_a_data_file_is_written_like_its_image(tmp_path: Path) -> None:
    data = tmp_path / "data"
    top = create(tmp_path / "top", "-f", "qcow2", "-o", f"data_file={data}", "1M")
    with locked(data, READER):
        preflight.require(
            after_planning((), (Disk(top, "qcow2", ephemeral=True, backed=True),), named(top))
        )
        with pytest.raises(MachineError, match=f"^{data}, to which "):
            preflight.require(after_planning((), (Disk(top, "qcow2", backed=True),), named(top)))


def test_a_disk_that_the_start_writes_is_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    delivery = Delivery("test", files=(File(path, b""),))
    checks = dict(after_planning((delivery,), (Disk(path, "raw"),), {}))
    assert checks["disk"]() == "none"


def test_a_disk_of_a_plugin_is_named_without_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with pytest.raises(MachineError, match=f"^the disk {path} can't be read: No such file"):
        preflight.require(after_planning((), (Disk(path, "raw"),), {}))
    path.write_bytes(bytes(512))
    with locked(path, WRITER), pytest.raises(MachineError, match=f"^the disk {path} is in use"):
        preflight.require(after_planning((), (Disk(path, "raw"),), named(tmp_path / "own")))


def test_an_image_that_depends_on_itself(tmp_path: Path) -> None:
    """Only a plugin's disk can: vmnet checks the chain of VMNET_DISK before."""
    top = overlay(tmp_path / "top", "top")
    preflight.require(after_planning((), (Disk(top, "qcow2", backed=True),), {}))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(fd: int, query: int, argument: bytes) -> bytes:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "disk"
    path.write_bytes(bytes(512))
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    preflight.require(after_planning((), (Disk(path, "raw"),), named(path)))


def test_a_locked_overlay_names_its_variables_and_a_folder_for_each_vm(tmp_path: Path) -> None:
    base, path = tmp_path / "base", tmp_path / "state/overlay2.qcow2"
    path.parent.mkdir()
    for file in (base, path):
        file.write_bytes(bytes(512))
    disk = Disk(path, "qcow2", base=Base(base, "raw"))
    checks = after_planning((), (disk,), {base: "VMNET_DISK2"}, StateFolder(path.parent))
    with locked(path, WRITER), pytest.raises(MachineError) as caught:
        preflight.require(checks)
    assert caught.value.message.startswith(
        f"the overlay {path} of VMNET_DISK2={base} is in use by another VM"
    )
    assert caught.value.hint == (
        f"stop that VM first, or give each VM another folder than VMNET_DISK_STATE={path.parent}"
    )


def test_a_downloaded_disk_in_use_names_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "downloads/disk"
    path.parent.mkdir()
    path.write_bytes(bytes(512))
    checks = after_planning((), (Disk(path, "raw"),), named(path), StateFolder(tmp_path))
    with locked(path, WRITER), pytest.raises(MachineError) as caught:
        preflight.require(checks)
    assert f"VMNET_DISK_STATE={tmp_path}" in caught.value.hint
