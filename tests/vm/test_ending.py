"""QEMU's exit status, which becomes the container's exit code, shows how the machine ended."""

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
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.vm.conftest import BOOT_SECONDS, PATIENT, VMNET, DemoVm, await_shell, boot_sector
from vmnet.supervision.exit_port import FORCED_STATUS

pytestmark = pytest.mark.vm


@contextmanager
def shell(web: Namespace, machine: DemoVm, **settings: str) -> Iterator[tuple[Process, Console]]:
    """Boot a guest, and yield its shell on the standard streams of PID 1."""
    environ = {**machine.environ, **settings}
    with (
        web.popen(*VMNET, "run", env=environ, pid=True, pipe=True) as process,
        on_process(process) as console,
    ):
        await_shell(console)
        yield process, console


def test_a_reboot_keeps_the_container_and_a_poweroff_is_success(
    network: Lan, machine: DemoVm
) -> None:
    """The console contains no escape sequences, which `docker logs` would show."""
    with shell(network.container(), machine) as (process, console):
        assert "\x1b" not in console.transcript
        text = "a line that is longer than the eighty columns of a usual terminal: six by seven is"
        output = console.command(f"echo {text} $((6 * 7))", "vmnet-guest# ")
        assert output == f"{text} 42\n"
        console.send_line("reboot -f")
        console.expect("vmnet-guest# ", BOOT_SECONDS)
        console.send_line("poweroff")
        assert process.wait(WAIT) == 0
        output = process.output()
    assert "\x1b" not in output
    assert "vmnet: guard: the guest reboots" in output


def test_if_qemu_refuses_its_arguments_the_next_start_recovers(
    network: Lan, machine: DemoVm
) -> None:
    """QEMU reports the error as PID 1, when no process of vmnet is left to undo the start."""
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


def test_a_panic_is_a_failure(network: Lan, machine: DemoVm) -> None:
    """Because of `panic=-1`, the guest would otherwise reboot forever.

    A guard that is not there at the panic ends QEMU when the keeper has restarted it.
    """
    web = network.container("web")
    with shell(web, machine) as (process, console):
        guard = web.pid_of("vmnet-guard")
        os.kill(guard, signal.SIGSTOP)
        console.send_line("echo c > /proc/sysrq-trigger")
        console.expect("Kernel panic", WAIT)
        os.kill(guard, signal.SIGKILL)
        assert process.wait(WAIT) == 1
        output = process.output()
    assert "vmnet: error: guard: the guest panicked" in output


def test_without_the_guard_qemu_ends_itself_at_a_panic(network: Lan, machine: DemoVm) -> None:
    with shell(network.container(), machine, VMNET_GUARD="off") as (process, console):
        console.send_line("echo c > /proc/sysrq-trigger")
        assert process.wait(WAIT) == 1


def test_a_guest_chooses_its_exit_status(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    """QEMU's exit port makes twice the written value plus one of it."""
    settings = boot_sector(tmp_path, bytes.fromhex("b0 05 e6 f4"))  # mov al, 5; out 0xf4, al
    with machine.booted(network.container("web"), **settings) as guest:
        assert guest.process.wait(WAIT) == 11
        assert "forcing QEMU to quit" not in guest.output(), "the mark of a forced stop"


def test_a_disk_without_a_boot_loader_is_reported(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    with machine.booted(network.container("web"), VMNET_DISK=str(disk)) as guest:
        guest.says("error: guard: the BIOS found nothing to boot")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_guest_that_powers_off_in_time_is_success(
    network: Lan, machine: DemoVm, number: signal.Signals
) -> None:
    with shell(network.container(), machine, **PATIENT) as (process, console):
        process.signal(number)
        process.signal(number)
        console.expect("power button, shutting down", WAIT)
        assert process.wait(WAIT) == 0
        output = process.output()
    assert output.count("pressing the guest's power button") == 1
    assert "forcing" not in output


def test_a_guest_that_ignores_the_button_is_forced_with_a_special_status(
    network: Lan, machine: DemoVm
) -> None:
    with shell(network.container(), machine, VMNET_STOP_TIMEOUT="4", VMNET_LOG="json") as (
        process,
        console,
    ):
        console.send_line("killall acpid; echo deaf")
        console.expect("^deaf$", WAIT)
        process.signal(signal.SIGTERM)
        assert process.wait(WAIT) == FORCED_STATUS
        output = process.output()
    forced = (
        '"warning", "event": "guest.stop_forced", "message": "guard: the guest did not power off'
    )
    assert f"{forced} within 4 s" in output
    assert "--stop-timeout 70 -e VMNET_STOP_TIMEOUT=60" in output


def test_the_button_is_pressed_until_the_guest_reacts(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    with shell(network.container(), machine, VMNET_STOP_TIMEOUT="80") as (process, console):
        console.send_line("killall acpid; echo deaf")
        console.expect("^deaf$", WAIT)
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(WAIT)
            monitor.connect(str(tmp_path / "run" / "qmp.sock"))
            monitor.sendall(b'{"execute": "qmp_capabilities"}')
            process.signal(signal.SIGTERM)
            messages = map(json.loads, monitor.makefile("rb"))
            presses = (message for message in messages if message.get("event") == "POWERDOWN")
            assert [next(presses)["event"], next(presses)["event"]] == ["POWERDOWN"] * 2
        console.send_line("acpid -l /run/acpid.log -p /run/acpid.pid")
        console.expect("power button, shutting down", WAIT)
        assert process.wait(WAIT) == 0


def test_a_stop_during_the_boot_is_not_lost(network: Lan, machine: DemoVm) -> None:
    """The firmware and the booting kernel ignore the button."""
    web = network.container("web")
    with machine.booted(web, VMNET_STOP_TIMEOUT=str(BOOT_SECONDS)) as guest:
        guest.process.signal(signal.SIGTERM)
        assert guest.process.wait(BOOT_SECONDS + 10) == 0
        assert "power button, shutting down" in guest.output()


def test_a_guard_that_is_killed_is_replaced(network: Lan, machine: DemoVm) -> None:
    with shell(network.container(), machine, **PATIENT) as (process, console):
        keeper = until(lambda: _child(str(process.pid), "vmnet-keeper"), WAIT, "the keeper")
        guard = until(lambda: _child(keeper, "vmnet-guard"), WAIT, "the guard")
        os.kill(int(guard), signal.SIGKILL)
        missed = "error: guard: ended before the VM (SIGKILL): starting it again"
        until(lambda: missed in process.output(), WAIT, missed, detail=process.output)
        process.signal(signal.SIGTERM)
        console.expect("power button, shutting down", WAIT)
        assert process.wait(WAIT) == 0


def _child(pid: str, name: str) -> str | None:
    """Return the child with a name; the keeper also has short-lived children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next((child for child in children if _name(child) == name), None)


def _name(pid: str) -> str:
    """Return a process's name, or an empty string if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_forced_stop_writes_back_the_guests_data(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    """Until it quits, QEMU keeps in memory where the guest's data is in the image."""
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
    with shell(network.container(), machine, **settings) as (process, console):
        # O_DIRECT bypasses the guest's cache, and does not flush the disk's.
        written = "yes vmnet | dd of=/dev/vda bs=64k count=64 iflag=fullblock oflag=direct"
        console.send_line(f"killall acpid; {written} && echo done")
        console.expect("^done$", WAIT)
        process.signal(signal.SIGTERM)
        assert process.wait(WAIT) == FORCED_STATUS
    raw = tmp_path / "raw"
    run("qemu-img", "check", "-q", "-f", "qcow2", disk)
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw)
    size = 64 << 16
    assert raw.read_bytes()[:size] == (b"vmnet\n" * size)[:size]


def test_without_the_guard_a_stop_signal_ends_qemu(network: Lan, machine: DemoVm) -> None:
    with shell(network.container(), machine, VMNET_GUARD="off") as (process, _):
        process.signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        assert "guard" not in process.output()
