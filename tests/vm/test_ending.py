"""How a machine ends is told by the status of QEMU, which is the container's exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.command import Process, run
from tests.lab.console import Console, on_process
from tests.lab.netns import Lan
from tests.lab.snapshot import require_same
from tests.lab.wait import until
from tests.vm.conftest import BOOT_SECONDS, VMNET, Machine
from vmnet.supervision.guard import FORCED_STATUS

pytestmark = pytest.mark.vm

END_SECONDS = 60


@contextmanager
def shell(network: Lan, machine: Machine, **settings: str) -> Iterator[tuple[Process, Console]]:
    """The guest's shell, on the standard streams of PID 1."""
    web = network.container("web")
    environ = {**machine.environ, **settings}
    with (
        web.popen(*VMNET, "run", env=environ, pid=True, pipe=True) as process,
        on_process(process) as console,
    ):
        console.expect("vmnet-guest# ", BOOT_SECONDS)
        yield process, console


def test_a_reboot_stays_and_a_poweroff_is_success(network: Lan, machine: Machine) -> None:
    with shell(network, machine) as (process, console):
        console.send_line("reboot -f")
        console.expect("vmnet-guest# ", BOOT_SECONDS)
        console.send_line("poweroff")
        assert process.wait(END_SECONDS) == 0
        said = process.output()
    assert "vmnet: guard: the guest reboots" in said


def test_a_qemu_that_refuses_says_why_and_the_next_start_recovers(
    network: Lan, machine: Machine
) -> None:
    """It says so when it is PID 1 already, so nothing of vmnet is left to undo anything."""
    web = network.container("web")
    before = web.dump()
    refused = web.run(
        *(*VMNET, "run", "-device", "no-such-device"), env=machine.environ, check=False, pid=True
    )
    assert refused.returncode == 1
    assert "'no-such-device' is not a valid device model name" in refused.stderr
    environ = {**machine.environ, "VMNET_QEMU": "/nonexistent"}
    recovered = web.run(*VMNET, "run", env=environ, check=False, pid=True)
    assert "restoring the network that a start left" in recovered.stderr
    require_same(before, web.dump())


def test_a_panic_is_a_failure(network: Lan, machine: Machine) -> None:
    """The guest's own `panic=-1` would have it reboot for ever."""
    with shell(network, machine) as (process, console):
        console.send_line("echo c > /proc/sysrq-trigger")
        assert process.wait(END_SECONDS) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_guest_that_powers_off_in_time_is_success(
    network: Lan, machine: Machine, number: signal.Signals
) -> None:
    with shell(network, machine) as (process, console):
        process.signal(number)
        process.signal(number)
        console.expect("power button, shutting down", END_SECONDS)
        assert process.wait(END_SECONDS) == 0
        said = process.output()
    assert said.count("pressing the guest's power button") == 1
    assert "forcing" not in said


def test_a_guest_that_does_not_listen_is_forced_with_a_status_of_its_own(
    network: Lan, machine: Machine
) -> None:
    with shell(network, machine, VMNET_STOP_TIMEOUT="4", VMNET_LOG="json") as (process, console):
        console.send_line("killall acpid; echo deaf")
        console.expect("^deaf$", END_SECONDS)
        process.signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == FORCED_STATUS
        said = process.output()
    assert '"warning", "message": "guard: the guest did not power off within 4 s' in said


def test_the_button_is_pressed_until_the_guest_reacts(
    network: Lan, machine: Machine, tmp_path: Path
) -> None:
    with shell(network, machine, VMNET_STOP_TIMEOUT="80") as (process, console):
        console.send_line("killall acpid; echo deaf")
        console.expect("^deaf$", END_SECONDS)
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(END_SECONDS)
            monitor.connect(str(tmp_path / "run" / "qmp.sock"))
            monitor.sendall(b'{"execute": "qmp_capabilities"}')
            process.signal(signal.SIGTERM)
            messages = map(json.loads, monitor.makefile("rb"))
            presses = (one for one in messages if one.get("event") == "POWERDOWN")
            assert [next(presses)["event"], next(presses)["event"]] == ["POWERDOWN"] * 2
        console.send_line("acpid -l /run/acpid.log -p /run/acpid.pid")
        console.expect("power button, shutting down", END_SECONDS)
        assert process.wait(END_SECONDS) == 0


def test_a_stop_during_the_boot_is_not_lost(network: Lan, machine: Machine) -> None:
    """The firmware and the kernel's first seconds are deaf to the button."""
    web = network.container("web")
    with machine.booted(web, VMNET_STOP_TIMEOUT=str(BOOT_SECONDS)) as guest:
        guest.process.signal(signal.SIGTERM)
        assert guest.process.wait(BOOT_SECONDS + 10) == 0
        assert "power button, shutting down" in guest.output()


def test_a_guard_that_is_killed_is_replaced(network: Lan, machine: Machine) -> None:
    with shell(network, machine) as (process, console):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (keeper,) = (one for one in children if _name(one) == "vmnet-keeper")
        (guard,) = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        os.kill(int(guard), signal.SIGKILL)
        missed = "error: guard: ended before the VM (SIGKILL): starting it again"
        until(lambda: missed in process.output(), END_SECONDS, missed, detail=process.output)
        process.signal(signal.SIGTERM)
        console.expect("power button, shutting down", END_SECONDS)
        assert process.wait(END_SECONDS) == 0


def _name(pid: str) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_forced_stop_writes_back_what_the_guest_has_written(
    network: Lan, machine: Machine, tmp_path: Path
) -> None:
    """Where a guest's data lies in the image, QEMU knows alone until it is told to stop."""
    disk = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", disk, "16M")
    demo = Path(machine.environ["VMNET_DEMO"])
    settings = {
        "VMNET_DISK": str(disk),
        "VMNET_KERNEL": str(demo / "vmlinuz"),
        "VMNET_INITRD": str(demo / "initrd"),
        "VMNET_APPEND": "console=ttyS0 quiet panic=-1",
        "VMNET_STOP_TIMEOUT": "1",
    }
    with shell(network, machine, **settings) as (process, console):
        # O_DIRECT: past the guest's cache, and without telling the disk to flush its own.
        written = "yes vmnet | dd of=/dev/vda bs=64k count=64 iflag=fullblock oflag=direct"
        console.send_line(f"killall acpid; {written} && echo done")
        console.expect("^done$", END_SECONDS)
        process.signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == FORCED_STATUS
    raw = tmp_path / "raw"
    run("qemu-img", "check", "-q", "-f", "qcow2", disk)
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw)
    size = 64 << 16
    assert raw.read_bytes()[:size] == (b"vmnet\n" * size)[:size]


def test_without_the_guard_a_stop_signal_ends_qemu(network: Lan, machine: Machine) -> None:
    with shell(network, machine, VMNET_GUARD="off") as (process, _):
        process.signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == 0
        assert "guard" not in process.output()
