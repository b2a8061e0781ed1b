"""The alarm: a signal to a process wakes its guard, also after an exec of the process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.wait import WAIT, until
from tests.unit.supervised import guard_command, keeper_command
from vmnet import process
from vmnet.supervision import alarm, keeper, signals

_PROGRAM = """
import os, signal, sys
from vmnet import process, program
from vmnet.supervision import alarm, guard, keeper, signals
signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP_SIGNALS)
with alarm.opened() as fds:
    words = guard.arguments(os.getpid(), "/nonexistent", 60, "wait", "text", fds, ())
    argv = program.command("vmnet.supervision.guard", *words, light=True)
    order = keeper.keep_guard(sys.argv[1] + "/guard.pid", fds, argv)
    words = keeper.arguments(os.getpid(), "text", sys.argv[1] + "/keeper.pid", order)
    process.spawn(program.command("vmnet.supervision.keeper", *words, light=True))
assert not signal.sigpending(), signal.sigpending()
sleeper = "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()"
os.execv(sys.executable, (sys.executable, "-c", sleeper))
"""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with threads that has executed another program since it opened the alarm."""
    with subprocess.Popen(
        (sys.executable, "-c", _PROGRAM, tmp_path), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _guard_of(pid: int) -> Path | None:
    found = (child for keeper in _children(pid) for child in _children(int(keeper.name)))
    guards = (child for child in found if (child / "comm").read_text() == "vmnet-guard\n")
    return next(guards, None)


def _children(pid: int) -> list[Path]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path("/proc", child) for child in children]


def _switches(process: Path) -> int:
    """Return how often a process has gone to sleep (proc_pid_status(5))."""
    return int((process / "status").read_text().split("voluntary_ctxt_switches:")[1].split()[0])


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_signal_wakes_the_guard_at_once(guarded: subprocess.Popen[str]) -> None:
    found = until(lambda: _guard_of(guarded.pid), WAIT, "the guard")
    until(
        lambda: b"threading" in Path(f"/proc/{guarded.pid}/cmdline").read_bytes(), WAIT, "the exec"
    )
    until(lambda: _threads(guarded.pid) == 2, WAIT, "the thread")
    until(lambda: _switches(found) > 0, WAIT, "the guard to sleep")
    guarded.send_signal(signal.SIGTERM)
    assert guarded.stderr is not None
    said = guarded.stderr.readline()
    assert said == "vmnet: guard: SIGTERM: pressing the guest's power button\n"


def test_opening_leaves_no_pending_signal_and_no_descriptor() -> None:
    """This does not require blocked stop signals."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    before = sorted(map(str, Path("/proc/self/fd").iterdir()))
    with alarm.opened() as fds:
        assert list(map(os.get_inheritable, fds)) == [True, True]
        assert signals.ALARM_SIGNAL not in signal.sigpending()
    assert sorted(map(str, Path("/proc/self/fd").iterdir())) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


@pytest.mark.parametrize("rings", [True, False])
def test_a_guard_that_trusts_its_alarm_sleeps(rings: bool, tmp_path: Path) -> None:
    """It checks twice a second only if its alarm has never fired."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.bind(str(tmp_path / "qmp.sock"))
        monitor.listen()
        with alarm.opened() as fds:
            given = (os.getpid(), tmp_path / "qmp.sock", 60, "text", fds if rings else ())
            order = keeper.keep_guard(tmp_path / "guard.pid", fds, guard_command(*given))
            words = keeper_command(os.getpid(), "text", tmp_path / "keeper.pid", order)
            pid = process.spawn(words, signals.STOP_SIGNALS)
        try:
            monitor.settimeout(WAIT)
            connection, _ = monitor.accept()
            with connection:
                connection.recv(4096)  # the guard runs
                both = (Path("/proc", str(pid)), *_children(pid))
                assert len(both) == 2

                def sleeps_as_expected() -> bool:
                    """Whether it sleeps through some seconds, or checks as often as it should."""
                    first = sum(map(_switches, both))
                    time.sleep(3)
                    woken = sum(map(_switches, both)) - first
                    return woken <= 2 if rings else woken >= 4

                # On a busy machine, both may still be starting.
                until(sleeps_as_expected, WAIT, "the expected number of checks")
        finally:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
