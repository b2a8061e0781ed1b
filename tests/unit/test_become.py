"""Executing the hypervisor, and the process after a failed exec."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.lab.wait import WAIT
from vmnet.errors import LaunchError
from vmnet.lifecycle.become import become
from vmnet.model.machine import Command


def python(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a new process, which an exec may replace."""
    head = "import os, signal\nfrom vmnet.lifecycle.become import become\n"
    head += "from vmnet.model.machine import Command\n"
    argv = (sys.executable, "-c", head + script)
    return subprocess.run(argv, capture_output=True, text=True, timeout=WAIT)


def test_the_process_is_the_program() -> None:
    done = python("print(os.getpid()); become(Command(('/bin/sh', '-c', 'echo $$ \"$0\"', 'x')))")
    before, after = done.stdout.splitlines()
    assert after == f"{before} x", "the same process, and nothing printed before is lost"


def test_the_kernel_reaps_the_orphans() -> None:
    done = python("become(Command(('/bin/cat', '/proc/self/status')))")
    ignored = next(line for line in done.stdout.splitlines() if line.startswith("SigIgn:"))
    assert int(ignored.split()[1], 16) >> (17 - 1) & 1, "SIGCHLD"


def test_only_the_descriptors_to_keep_are_kept() -> None:
    done = python(
        "kept, other = os.open('/etc/passwd', 0), os.open('/etc/group', 0)\n"
        "os.dup2(kept, 100, inheritable=False)\n"
        "become(Command(('/bin/ls', '-l', '/proc/self/fd'), keep_fds=(100,)))"
    )
    assert "100 -> /etc/passwd" in done.stdout
    assert "/etc/group" not in done.stdout


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/absent/qemu", "can't execute /absent/qemu: No such file or directory"),
        ("/etc/passwd", "can't execute /etc/passwd: Permission denied"),
    ],
)
def test_a_program_that_can_t_be_executed(program: str, said: str) -> None:
    done = python(
        "from vmnet.errors import LaunchError\n"
        "try:\n"
        f"    become(Command(({program!r},)))\n"
        "except LaunchError as error:\n"
        "    print(error.message, error.hint, sep='\\n')\n"
        "print(signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL)\n"
    )
    message, hint, is_default = done.stdout.splitlines()
    assert message == said
    assert "VMNET_QEMU" in hint
    assert is_default == "True", "undos may start programs and wait for them"


def test_a_descriptor_that_is_not_open() -> None:
    with pytest.raises(LaunchError, match="999"):
        become(Command(("/bin/true",), keep_fds=(999,)))


def test_a_pending_stop_signal_prevents_the_exec() -> None:
    done = python(
        "from vmnet.errors import InterruptedStartError\n"
        "from vmnet.lifecycle import stop_signals\n"
        "stop_signals.hold()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "try:\n"
        "    become(Command(('/bin/echo', 'booted')))\n"
        "except InterruptedStartError as error:\n"
        "    print(error.message)\n"
    )
    assert done.stdout == "interrupted by SIGTERM during the start\n"
