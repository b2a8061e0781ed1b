"""The guard: which signal is pending, and what it tells the machine's control socket."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmnet.lifecycle import guard

STATUS = Path("/proc/self/status").read_bytes()
NAMES = {1: "SIGHUP", 2: "SIGINT", 15: "SIGTERM", 30: "SIGPWR"}


def status(mask: int) -> bytes:
    """A real process's status with another mask of signals pending for it."""
    lines = STATUS.splitlines()
    return b"\n".join(
        b"ShdPnd:\t%016x" % mask if line.startswith(b"ShdPnd:") else line for line in lines
    )


def test_nothing_is_pending_for_us() -> None:
    assert b"ShdPnd:" in STATUS
    assert guard.pending(STATUS) == 0


def test_the_stop_signals_are_those_of_this_platform() -> None:
    assert {signal.Signals(number).name for number in guard.STOP_SIGNALS} == set(NAMES.values())


@given(st.integers(0, 2**64 - 1))
@example(1 << 14)
@example(1 << 29)
@example(0x20004003)
def test_a_stop_signal_is_found_among_any_others(mask: int) -> None:
    pending = {number for number in NAMES if mask & 1 << (number - 1)}
    found = guard.pending(status(mask))
    assert found in pending if pending else found == 0


@given(st.binary())
def test_text_without_the_line_means_none(text: bytes) -> None:
    assert b"ShdPnd:" in text or guard.pending(text) == 0


@contextmanager
def machine() -> Iterator[subprocess.Popen[bytes]]:
    """A process that blocks the stop signals, as QEMU does."""
    script = (
        "import signal, sys, time\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, {guard.STOP_SIGNALS})\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen((sys.executable, "-c", script), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", NAMES)
def test_a_real_process_with_a_real_pending_signal(number: int) -> None:
    with machine() as process:
        path = Path(f"/proc/{process.pid}/status")
        assert guard.pending(path.read_bytes()) == 0
        process.send_signal(number)
        assert guard.pending(path.read_bytes()) == number


class Monitor(threading.Thread):
    """A QMP server that ends its machine at the command that it obeys."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes], obeys: str) -> None:
        super().__init__(daemon=True)
        self.commands: list[str] = []
        self._process, self._obeys = process, obeys
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.settimeout(10)

    def run(self) -> None:
        with self._socket:
            while self._process.poll() is None:
                try:
                    connection, _ = self._socket.accept()
                except TimeoutError:
                    return
                with connection:
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\n')
        for line in connection.makefile("rb"):
            command = json.loads(line)["execute"]
            self.commands.append(command)
            connection.sendall(b'{"event": "RTC_CHANGE"}\n{"return": {}}\n')
            if command == self._obeys:
                self._process.kill()
                self._process.wait(10)
                return


def watched(
    tmp_path: Path, obeys: str, deadline: float, *signals: int
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What the guard said, and what it told the machine."""
    qmp = tmp_path / "qmp.sock"
    with machine() as process:
        monitor = Monitor(qmp, process, obeys)
        monitor.start()
        for number in signals:
            process.send_signal(number)
        argv = (sys.executable, "-I", "-S", guard.__file__, str(process.pid), str(qmp))
        done = subprocess.run((*argv, str(deadline)), capture_output=True, text=True, timeout=20)
        monitor.join(15)
    return done, monitor.commands


def test_a_stop_signal_presses_the_power_button(tmp_path: Path) -> None:
    done, commands = watched(tmp_path, "system_powerdown", 10, signal.SIGTERM)
    assert commands == ["qmp_capabilities", "system_powerdown"]
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "vmnet: guard: signal 15: pressing the guest's power button\n"


def test_a_guest_that_does_not_listen_is_made_to_quit_at_the_deadline(tmp_path: Path) -> None:
    done, commands = watched(tmp_path, "quit", 0.5, signal.SIGINT)
    assert commands == ["qmp_capabilities", "system_powerdown", "qmp_capabilities", "quit"]
    assert done.returncode == 0
    assert "did not power off within 0.5 s: forcing QEMU to quit" in done.stderr


def test_a_machine_that_ends_by_itself_ends_the_guard(tmp_path: Path) -> None:
    with machine() as process:
        argv = (sys.executable, "-I", "-S", guard.__file__, str(process.pid), "/absent", "8")
        with subprocess.Popen(argv, stderr=subprocess.PIPE) as running:
            process.kill()
            process.wait(10)
            assert running.wait(10) == 0
            assert running.stderr is not None
            assert running.stderr.read() == b""


def test_a_control_socket_that_is_not_there_yet_is_reported_and_tried_to_the_end(
    tmp_path: Path,
) -> None:
    with machine() as process:
        process.send_signal(signal.SIGTERM)
        argv = (sys.executable, "-I", "-S", guard.__file__, str(process.pid))
        done = subprocess.run(
            (*argv, str(tmp_path / "absent"), "0.3"), capture_output=True, text=True, timeout=20
        )
    assert done.stderr.count("QMP system_powerdown: ") == 1
    assert done.stderr.count("QMP quit: ") == 1


def test_it_runs_without_vmnet_and_imports_little() -> None:
    """It stays for as long as the machine does: see bench/memory."""
    source = Path(guard.__file__).read_text()
    assert "import vmnet" not in source
    assert "from vmnet" not in source
