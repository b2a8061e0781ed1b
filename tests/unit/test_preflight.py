"""The checks that a start and `vmnet check` share: privileges, and disks that another VM uses."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vmnet import engine
from vmnet.errors import MachineError, PluginError, PrivilegeError
from vmnet.model.delivery import Daemon, Delivery
from vmnet.model.machine import Disk
from vmnet.planning import capabilities, preflight

# QEMU's locks of a disk that it writes: it uses permissions 0, 1 and 3, and denies 1 and 3.
WRITER, READER = (100, 101, 103, 201, 203), (100, 201)
LOCK = struct.Struct("hhqqi4x")


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


def without(name: str) -> str:
    return f"CapEff:\t{(1 << 41) - 1 & ~(1 << capabilities.NEEDED[name].number):016x}\n"


def failures(*capability: str) -> list[str]:
    """Return the messages of the checks that fail for a daemon that needs a capability."""
    daemon = Daemon("the server", ("server",), Path("/run/pid"), capabilities=capability)
    found = []
    delivery = Delivery("test", daemons=(daemon,))
    for _, check in (*preflight.before_planning(1), *preflight.after_planning((delivery,), ())):
        try:
            check()
        except PrivilegeError as error:
            found.append(f"{error.message}; {error.hint}")
    return found


def test_net_admin_is_always_needed(status: Path) -> None:
    assert failures() == []
    status.write_text(without("NET_ADMIN"))
    assert failures() == [
        "the container lacks the capability NET_ADMIN, which vmnet needs; "
        "run the container with `--cap-add NET_ADMIN`"
    ]


def test_a_daemon_names_what_it_needs(status: Path) -> None:
    status.write_text(without("NET_RAW"))
    assert failures() == []
    assert failures("NET_RAW") == [
        "the container lacks the capability NET_RAW, which the server needs; "
        "run the container with `--cap-add NET_RAW`"
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
    checks = preflight.after_planning((), (Disk(path, "raw", ephemeral),))
    with locked(path, locks):
        if is_refused:
            with pytest.raises(MachineError, match=f"VMNET_DISK={path} is in use by another VM"):
                preflight.require(checks)
        else:
            preflight.require(checks)
