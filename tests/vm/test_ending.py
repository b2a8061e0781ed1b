"""How a machine ends is told by the status of QEMU, which is the container's exit code."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.command import Process
from tests.lab.console import Console, on_process
from tests.lab.netns import Lan
from tests.lab.snapshot import require_same
from tests.vm.conftest import BOOT_SECONDS, VMNET, Machine
from vmnet.lifecycle.guard import FORCED_STATUS

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


def test_without_the_guard_a_stop_signal_ends_qemu(network: Lan, machine: Machine) -> None:
    with shell(network, machine, VMNET_GUARD="off") as (process, _):
        process.signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == 0
        assert "guard" not in process.output()
