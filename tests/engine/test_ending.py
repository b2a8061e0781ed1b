"""What ends a VM container, by Docker's own means, and what Docker makes of it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.conftest import BOOT_SECONDS, NET_ADMIN, Vms
from tests.lab.command import background
from tests.lab.console import Console, on_pty
from tests.lab.engine import Container
from tests.lab.wait import until

pytestmark = pytest.mark.engine

END_SECONDS = 60
PROMPT = "vmnet-guest# "
BUTTON = "vmnet-guest: power button, shutting down"
# hlt, which only the kernel may execute: what abort(3) does at last, too.
_FAULT = b"\xf4"


@contextmanager
def attached(vms: Vms, vm: Container) -> Iterator[Console]:
    """The guest's shell, by `docker attach`."""
    with on_pty("docker", "attach", vm.id, env=vms.docker.env) as console:
        console.send_line()
        console.expect(re.escape(PROMPT), BOOT_SECONDS)
        yield console


def crash(vm: Container) -> None:
    """Have QEMU fail as of a bug of its own: its code is not what it was."""
    pid = vm.inspect()["State"]["Pid"]
    program = str(Path(f"/proc/{pid}/exe").readlink())
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    (code,) = (line.split() for line in maps if line.endswith(program) and " r-xp " in line)
    start, end = (int(one, 16) for one in code[0].split("-"))
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(_FAULT * (end - start))


def test_a_restart_policy_sees_failures_and_no_others(vms: Vms) -> None:
    """`on-failure` brings a VM back after a panic and a crash, and leaves one that powered off."""
    vm = vms.start("-it", "--restart", "on-failure")

    def restarted() -> bool:
        found = vm.inspect()
        return (found["RestartCount"], found["State"]["Status"]) == (times, "running")

    times = 1
    with attached(vms, vm) as console:
        console.send_line("echo c > /proc/sysrq-trigger")
        until(restarted, END_SECONDS, "a restart after a panic", detail=vm.logs)
    assert "vmnet: error: guard: the guest panicked" in vm.logs()

    times = 2
    with attached(vms, vm):
        crash(vm)
        until(restarted, END_SECONDS, "a restart after a crash", detail=vm.logs)

    with attached(vms, vm) as console:
        console.send_line("reboot -f")
        console.expect(re.escape(PROMPT), BOOT_SECONDS)
        console.send_line("poweroff")
        assert vm.wait() == 0
    state = vm.inspect()
    assert (state["State"]["Status"], state["RestartCount"]) == ("exited", 2)
    now = str(int(time.time()) + 1)
    events = ("events", "--since", state["Created"], "--until", now)
    which = ("--filter", f"container={vm.id}", "--filter", "event=die")
    codes = vms.docker.docker(*events, *which, "--format", "{{.Actor.Attributes.exitCode}}")
    assert codes.stdout.split() == ["1", str(128 + signal.SIGSEGV), "0"]


def test_under_an_init_of_the_engine(vms: Vms) -> None:
    """QEMU is not PID 1 then, and any signal without a handler would end it."""
    vm = vms.start("--init", "-it")
    with attached(vms, vm):
        assert not vm.exec("cat", "/proc/1/comm").stdout.startswith("qemu-system")
        vm.kill("QUIT")
        assert vm.wait() == 0
    assert "guard: SIGQUIT: pressing the guest's power button" in vm.logs()
    assert BUTTON in vm.logs()


def test_keys_on_a_terminal_are_the_guests(vms: Vms) -> None:
    """Ctrl-C and Ctrl-\\ end the guest's programs, not the VM."""
    vm = vms.start("-it")
    with attached(vms, vm) as console:
        for key in ("\x03", "\x1c"):
            console.send_line("echo at work; sleep 600")
            console.expect("^at work$")
            console.send(key)
            console.expect(re.escape(PROMPT))
        console.send_line("poweroff")
        assert vm.wait() == 0
    assert "pressing" not in vm.logs()


def test_an_interrupt_without_a_terminal(vms: Vms) -> None:
    """`docker run` in the foreground hands Ctrl-C on; a stop of no seconds is a kill."""
    named = ("--name", "vmt-foreground", "--label", vms.docker.label)
    argv = ("run", *NET_ADMIN, *named, "-e", "VMNET_MEMORY=256M", vms.image)
    with background("docker", *argv, env=vms.docker.env) as client:

        def booted() -> bool:
            client.require_running()
            return "vmnet-guest: eth0 " in client.output()

        until(booted, BOOT_SECONDS, "the guest to boot", detail=client.output)
        client.signal(signal.SIGINT)
        assert client.wait(END_SECONDS) == 0
        assert BUTTON in client.output()
    vm = Container(vms.docker, vms.docker.inspect("vmt-foreground")["Id"])
    vms.docker.docker("start", vm.id)
    until(lambda: vm.logs().count("vmnet-guest: eth0 ") == 2, BOOT_SECONDS, "the second boot")
    vm.stop(0)
    assert vm.wait() == 128 + signal.SIGKILL
