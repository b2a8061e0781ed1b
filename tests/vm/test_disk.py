"""However a VM ends, its disk is intact and contains everything that the guest has synced."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.command import Process, run
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT
from tests.vm.conftest import DemoVm, Guest, booting

pytestmark = [pytest.mark.vm, pytest.mark.long]

_WRITER = Path(__file__).with_name("writer")
_STRIDE = 8  # sectors in a cluster of the image: each record allocates a cluster
_SECTOR = 512
_CLUSTER = _STRIDE * _SECTOR
_SETTLED_SECONDS = 1.5

End = Callable[[Namespace, Process], None]


def _docker_kill(container: Namespace, vm: Process) -> None:
    vm.signal(signal.SIGKILL)


def _docker_stop(container: Namespace, vm: Process) -> None:
    """Send the stop signal. This guest ignores its power button, so the guard makes QEMU quit."""
    vm.signal(signal.SIGTERM)


def _kill_after_losing_the_guard(container: Namespace, vm: Process) -> None:
    _kill(container, "vmnet-guard")
    time.sleep(random.uniform(0, _SETTLED_SECONDS))
    _docker_kill(container, vm)


def _stop_after_losing_dnsmasq(container: Namespace, vm: Process) -> None:
    _kill(container, "dnsmasq")
    time.sleep(random.uniform(0, _SETTLED_SECONDS))
    _docker_stop(container, vm)


def _kill(container: Namespace, name: str) -> None:
    os.kill(container.pid_of(name), signal.SIGKILL)


_ENDS: tuple[End, ...] = (
    _docker_kill,
    _docker_stop,
    _kill_after_losing_the_guard,
    _stop_after_losing_dnsmasq,
)


@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
def test_no_record_is_lost(
    network: Lan,
    machine: DemoVm,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    image_format: str,
) -> None:
    """The VM ends ``--kills`` times, each time at a random moment."""
    kills: int = request.config.getoption("--kills")
    container = network.container("db")
    disk = tmp_path / f"disk.{image_format}"
    options = ("-o", f"cluster_size={_CLUSTER}") if image_format == "qcow2" else ()
    run("qemu-img", "create", "-q", "-f", image_format, *options, disk, "1G")
    settings = booting(machine, _WRITER / "init", tmp_path)
    append = settings.pop("VMNET_APPEND")
    settings |= {"VMNET_DISK": str(disk), "VMNET_STOP_TIMEOUT": "1"}
    written = -1
    for number in range(kills):
        end = _ENDS[number % len(_ENDS)]
        records = f"first={written + 1} stride={_STRIDE}"
        with machine.booted(container, **settings, VMNET_APPEND=f"{append} {records}") as guest:
            guest.says(f"written {written + 1}\r\n")
            time.sleep(random.uniform(0, _SETTLED_SECONDS))
            end(container, guest.process)
            guest.process.wait(WAIT)
            last = _last_written(guest)
        if image_format == "qcow2":
            _require_intact(disk)
            run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, tmp_path / "raw")
        content = tmp_path / "raw" if image_format == "qcow2" else disk
        _require_records(content, last, f"{end.__name__}, after {number} earlier ends")
        written = last


def _last_written(guest: Guest) -> int:
    """Return the last record that the guest has reported in a complete line."""
    return max(map(int, re.findall(r"^written (\d+)\r?\n", guest.output(), re.MULTILINE)))


def _require_intact(disk: Path) -> None:
    """Require a clean image. Leaked clusters are repaired first."""
    checked = run("qemu-img", "check", "-f", "qcow2", disk, check=False)
    if checked.returncode == 3:  # only leaks, see qemu-img(1)
        run("qemu-img", "check", "-q", "-f", "qcow2", "-r", "leaks", disk)
        checked = run("qemu-img", "check", "-f", "qcow2", disk, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _require_records(raw: Path, last: int, when: str) -> None:
    with raw.open("rb") as file:
        lost = [number for number in range(last + 1) if not _has(file.fileno(), number)]
    assert not lost, f"{when}: these of {last + 1} records are lost: {lost}"


def _has(file: int, number: int) -> bool:
    wanted = f"record {number:010}\n".encode()
    return os.pread(file, len(wanted), number * _CLUSTER) == wanted
