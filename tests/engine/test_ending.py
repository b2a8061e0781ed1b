"""Docker's commands and signals end a VM container with the documented exit code."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.conftest import BOOT_SECONDS, NET_ADMIN, VM, Vms
from tests.lab.command import background
from tests.lab.console import Console, on_pty
from tests.lab.engines.docker import Container
from tests.lab.wait import WAIT, until

pytestmark = pytest.mark.engine

PROMPT = "vmnet-guest# "
BUTTON = "vmnet-guest: power button, shutting down"
# The instruction hlt, which only the kernel may execute. abort(3) also uses it as a last resort.
_FAULT = b"\xf4"


@contextmanager
def attached(vms: Vms, vm: Container) -> Iterator[Console]:
    """Open the guest's shell with `docker attach`. All its output so far has been consumed."""
    with on_pty("docker", "attach", vm.id, env=vms.docker.env) as console:
        console.send_line()
        console.expect(re.escape(PROMPT), BOOT_SECONDS)
        # If Enter arrived while the guest booted, the shell prints a second prompt.
        console.send_line("echo $((6 * 7)) is attached")
        console.expect("^42 is attached$")
        console.expect(re.escape(PROMPT))
        yield console


def crash(vm: Container) -> None:
    """Crash QEMU as a bug would, by overwriting its code in memory."""
    pid = vm.inspect()["State"]["Pid"]
    program = str(Path(f"/proc/{pid}/exe").readlink())
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    (code,) = (line.split() for line in maps if line.endswith(program) and " r-xp " in line)
    start, end = (int(address, 16) for address in code[0].split("-"))
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(_FAULT * (end - start))


def test_a_restart_policy_restarts_only_failed_vms(vms: Vms) -> None:
    """`on-failure` restarts a VM after a panic and a crash, but not after a power-off."""
    vm = vms.start("-it", "--restart", "on-failure")

    def restarted() -> bool:
        state = vm.inspect()
        return (state["RestartCount"], state["State"]["Status"]) == (times, "running")

    times = 1
    with attached(vms, vm) as console:
        console.send_line("echo c > /proc/sysrq-trigger")
        until(restarted, WAIT, "a restart after a panic", detail=vm.logs)
    assert "vmnet: error: guard: the guest panicked" in vm.logs()

    times = 2
    with attached(vms, vm):
        crash(vm)
        until(restarted, WAIT, "a restart after a crash", detail=vm.logs)

    with attached(vms, vm) as console:
        console.send_line("reboot -f")
        console.expect(re.escape(PROMPT), BOOT_SECONDS)
        console.send_line("poweroff")
        assert vm.wait() == 0
    state = vm.inspect()
    assert (state["State"]["Status"], state["RestartCount"]) == ("exited", 2)
    now = str(int(time.time()) + 1)
    events = ("events", "--since", state["Created"], "--until", now)
    filters = ("--filter", f"container={vm.id}", "--filter", "event=die")
    codes = vms.docker.docker(*events, *filters, "--format", "{{.Actor.Attributes.exitCode}}")
    assert codes.stdout.split() == ["1", str(128 + signal.SIGSEGV), "0"]


def test_a_signal_under_the_engine_s_init_presses_the_power_button(vms: Vms) -> None:
    """With `--init`, QEMU is not PID 1, so any signal without a handler would end it."""
    vm = vms.start("--init", "-it")
    with attached(vms, vm):
        assert not vm.exec("cat", "/proc/1/comm").stdout.startswith("qemu-system")
        vm.kill("QUIT")
        assert vm.wait() == 0
    assert "guard: SIGQUIT: pressing the guest's power button" in vm.logs()
    assert BUTTON in vm.logs()


def test_keys_on_a_terminal_go_to_the_guest(vms: Vms) -> None:
    """Ctrl-C and Ctrl-\\ end the guest's programs, not the VM."""
    vm = vms.start("-it")
    with attached(vms, vm) as console:
        for key in ("\x03", "\x1c"):
            # A new shell, because the guest's shell and its forks ignore Ctrl-\\.
            console.send_line("sh -c 'echo at work; exec sleep 600'")
            console.expect("^at work$")
            console.send(key)
            console.expect(re.escape(PROMPT))
        console.send_line("poweroff")
        assert vm.wait() == 0
    assert "pressing" not in vm.logs()


def test_an_interrupt_without_a_terminal_presses_the_power_button(vms: Vms) -> None:
    """`docker run` in the foreground forwards Ctrl-C. `docker stop -t 0` kills the VM."""
    options = ("--name", "vmt-foreground", "--label", vms.docker.label)
    argv = ("run", *NET_ADMIN, *VM, *options, vms.image)
    with background("docker", *argv, env=vms.docker.env) as client:

        def booted() -> bool:
            client.require_running()
            return "vmnet-guest: eth0 " in client.output()

        until(booted, BOOT_SECONDS, "the guest to boot", detail=client.output)
        client.signal(signal.SIGINT)
        assert client.wait(WAIT) == 0
        assert BUTTON in client.output()
    vm = Container(vms.docker, vms.docker.inspect("vmt-foreground")["Id"])
    vms.docker.docker("start", vm.id)
    until(lambda: vm.logs().count("vmnet-guest: eth0 ") == 2, BOOT_SECONDS, "the second boot")
    vm.stop(0)
    assert vm.wait() == 128 + signal.SIGKILL
