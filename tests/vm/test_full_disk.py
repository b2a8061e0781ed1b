"""A full disk of the host is logged, and the guest continues when there is room.

The guard may be restarted meanwhile.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.vm.conftest import DemoVm, booting

pytestmark = pytest.mark.vm

_FILLER = Path(__file__).with_name("filler")
_MIB = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", folder)
    yield folder
    run("umount", folder)


def test_the_guest_waits_for_room(
    network: Lan, machine: DemoVm, small: Path, tmp_path: Path
) -> None:
    disk = small / "disk"
    with disk.open("wb") as file:
        file.truncate(16 * _MIB)
    settings = booting(machine, _FILLER / "init", tmp_path)
    db = network.container("db")
    with machine.booted(db, **settings, VMNET_DISK=str(disk)) as guest:
        guest.says("guard: disk0: the host's disk is full")
        assert "written" not in guest.output()
        os.kill(db.pid_of("vmnet-guard"), signal.SIGKILL)
        said = "the guest is stopped until there is room"
        until(lambda: guest.output().count(said) >= 2, WAIT, "the next guard", detail=guest.output)
        run("mount", "-o", "remount,size=32M", small)
        guest.says("written: 0")
        guest.says("guard: the host's disk has room again: the guest runs")
    assert disk.read_bytes()[: 8 * _MIB] == (b"vmnet\n" * (2 * _MIB))[: 8 * _MIB]
