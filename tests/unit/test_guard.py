"""The guard: how it finds pending signals, and what it sends to QEMU's control socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.lab.wait import WAIT, until
from tests.unit.supervised import guard_command, keeper_command
from vmnet import process
from vmnet.supervision import clock, guard, hypervisor, keeper, signals
from vmnet.supervision.exit_port import FORCED_STATUS, ending
from vmnet.supervision.log import Log
from vmnet.supervision.resumption import Resumption

STATUS = Path("/proc/self/status").read_bytes()
CONNECT = ("qmp_capabilities", "query-status")
NAMES = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 15: "SIGTERM", 30: "SIGPWR"}


def status(mask: int) -> bytes:
    """Return the status of a real process with another mask of pending signals."""
    lines = STATUS.splitlines()
    return b"\n".join(
        b"ShdPnd:\t%016x" % mask if line.startswith(b"ShdPnd:") else line for line in lines
    )


def test_no_signal_is_pending_in_a_real_status() -> None:
    assert b"ShdPnd:" in STATUS
    assert hypervisor.pending(STATUS) == 0


def test_the_stop_signals_have_these_numbers() -> None:
    assert {signal.Signals(number).name for number in signals.STOP_SIGNALS} == set(NAMES.values())


@given(st.integers(0, 2**64 - 1))
@example(1 << 14)
@example(1 << 29)
@example(0x20004007)
def test_a_stop_signal_is_found_among_other_signals(mask: int) -> None:
    pending = {number for number in NAMES if mask & 1 << (number - 1)}
    found = hypervisor.pending(status(mask))
    assert found in pending if pending else found == 0


@given(st.binary())
def test_a_status_without_the_line_has_no_pending_signal(text: bytes) -> None:
    assert b"ShdPnd:" in text or hypervisor.pending(text) == 0


@contextmanager
def machine() -> Iterator[subprocess.Popen[bytes]]:
    """A process that blocks the stop signals, as QEMU does."""
    script = (
        "import signal, sys, time\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, {signals.STOP_SIGNALS})\n"
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
        assert hypervisor.pending(path.read_bytes()) == 0
        process.send_signal(number)
        assert hypervisor.pending(path.read_bytes()) == number


class Monitor(threading.Thread):
    """A QMP server that kills its process at the command that it obeys."""

    def __init__(
        self, path: Path, process: subprocess.Popen[bytes], obeys: str, *events: dict[str, Any]
    ) -> None:
        super().__init__(daemon=True)
        self.commands: list[str] = []
        self._process, self._obeys, self._events = process, obeys, events
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.settimeout(WAIT)

    def run(self) -> None:
        with self._socket:
            connection, _ = self._socket.accept()
        with connection:
            connection.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\n')
            for line in connection.makefile("rb"):
                command = json.loads(line)["execute"]
                self.commands.append(command)
                connection.sendall(b'{"event": "RTC_CHANGE"}\n{"return": {}}\n')
                if command == self._obeys:
                    for event in self._events:
                        connection.sendall(json.dumps(event).encode() + b"\n")
                    self._process.kill()
                    self._process.wait(WAIT)
                    return


class FakeTime:
    """A clock and a poll: waiting takes no time."""

    def __init__(self, *pauses: float) -> None:
        self._now, self._pauses = 1000.0, list(pauses)

    CLOCK_BOOTTIME = 0

    def monotonic(self) -> float:
        return self._now

    def clock_gettime(self, clock: int) -> float:
        return self._now

    def poll(self, milliseconds: int) -> None:
        self._now += milliseconds / 1000 + (self._pauses.pop(0) if self._pauses else 0)


class FakeQemu:
    """A hypervisor, its control socket and the keeper: it ends when it is forced to."""

    end = reconnect_at = floods = 0
    commands: tuple[bytes, ...] = ()

    def has_ended(self) -> bool:
        return ending(FORCED_STATUS)[0] in self.commands

    def pending(self) -> int:
        return signal.SIGTERM

    def connect(self, *, also_after_flood: bool) -> bool:
        return True

    def send(self, commands: Sequence[bytes], seconds: float = 0) -> bool:
        self.commands += tuple(commands)
        return True

    def messages(self) -> list[dict[str, Any]]:
        return []

    last_messages = messages

    def check(self) -> float:
        return 60.0

    def fileno(self) -> int:
        return -1


@pytest.mark.parametrize("pauses", [(), (100.0,), (0.0, 6.0, 100.0)])
def test_the_deadline_leaves_out_pauses_of_the_container(
    pauses: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard presses the button at 0, 3 and 6 of 8 seconds, however long the engine froze it."""
    fake, qemu = FakeTime(*pauses), cast("Any", FakeQemu())
    monkeypatch.setattr(clock, "time", fake)
    log = Log("text", "guard")
    watching = guard.Guard(qemu, qemu, None, qemu, Resumption((), log), 8, "wait", log, "")
    monkeypatch.setattr(watching, "_sleep", lambda seconds: watching._clock.wait(fake, seconds))
    watching.run()
    assert [command for command in qemu.commands if b"powerdown" in command] == [
        b'{"execute": "system_powerdown"}'
    ] * 3


def guard_of(
    process: subprocess.Popen[bytes],
    qmp: Path,
    deadline: float,
    form: str,
    resumed: Sequence[str] = ("/bin/true",),
) -> list[str]:
    """Return the command line of a keeper that keeps only a guard alive."""
    words = guard_command(process.pid, qmp, deadline, form, (), resumed=resumed)
    order = keeper.keep_guard(qmp.with_name("guard.pid"), (), words)
    return list(keeper_command(process.pid, form, qmp.with_name("keeper.pid"), order))


@contextmanager
def connected(
    process: subprocess.Popen[bytes], path: Path, resumed: Sequence[str] = ("/bin/true",)
) -> Iterator[tuple[subprocess.Popen[str], socket.socket, IO[bytes]]]:
    """Run a guard, and yield its keeper, the socket to the guard and the guard's commands."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(WAIT)
        argv = guard_of(process, path, 8, "text", resumed)
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as running:
            theirs, _ = listener.accept()
            with theirs, theirs.makefile("rb") as commands:
                theirs.settimeout(WAIT)
                for name in CONNECT:
                    assert name.encode() in commands.readline()
                yield running, theirs, commands


def next_command(commands: IO[bytes]) -> dict[str, Any]:
    """Return the guard's next command, except for questions about the firmware.

    The guard asks these at a certain time after the start, which passes quickly on a busy machine.
    """
    while True:
        command: dict[str, Any] = json.loads(commands.readline())
        if command["execute"] != "ringbuf-read":
            return command


def watched(
    tmp_path: Path,
    obeys: str,
    *signals: int,
    deadline: float = 20,
    form: str = "text",
    events: tuple[dict[str, Any], ...] = (),
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a guard, and return its result and the commands that QEMU received."""
    qmp = tmp_path / "qmp.sock"
    with machine() as process:
        monitor = Monitor(qmp, process, obeys, *events)
        monitor.start()
        for number in signals:
            process.send_signal(number)
        argv = guard_of(process, qmp, deadline, form)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT)
        monitor.join(25)
    return done, monitor.commands


def test_a_stop_signal_presses_the_power_button(tmp_path: Path) -> None:
    done, commands = watched(tmp_path, "system_powerdown", signal.SIGTERM)
    assert commands == [*CONNECT, "system_powerdown"]
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "vmnet: guard: SIGTERM: pressing the guest's power button\n"


def test_further_signals_change_nothing(tmp_path: Path) -> None:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGTERM)
    done, commands = watched(tmp_path, "system_powerdown", *signals)
    assert commands == [*CONNECT, "system_powerdown"]
    assert done.stderr == "vmnet: guard: SIGINT: pressing the guest's power button\n"


def test_the_deadline_makes_qemu_quit(tmp_path: Path) -> None:
    """QEMU writes back the disks first."""
    done, commands = watched(tmp_path, "quit", signal.SIGINT, deadline=2)
    assert commands[:3] == [*CONNECT, "system_powerdown"]
    assert commands[-3:] == ["stop", "human-monitor-command", "quit"]
    assert done.returncode == 0
    warning = "did not power off within 2 s: forcing QEMU to quit\nvmnet: hint: wait\n"
    assert warning in done.stderr


_ENDING_AFTER_PANIC = [json.loads(command) for command in ending(1)]


def test_a_paused_panic_is_logged_and_then_ends_qemu(tmp_path: Path) -> None:
    with machine() as process, connected(process, tmp_path / "qmp") as (running, qmp, commands):
        qmp.sendall(b'{"event": "GUEST_PANICKED", "data": {"action": "pause"}}\n')
        assert [next_command(commands) for _ in range(3)] == _ENDING_AFTER_PANIC
        process.kill()
        process.wait(WAIT)
        assert running.stderr is not None
        assert running.stderr.read() == "vmnet: error: guard: the guest panicked\n"


def test_a_guard_that_connects_after_a_panic_ends_qemu(tmp_path: Path) -> None:
    with machine() as process, connected(process, tmp_path / "qmp") as (running, qmp, commands):
        answer = {"return": {"status": "guest-panicked", "running": False}, "id": "status"}
        qmp.sendall(json.dumps(answer).encode() + b"\n")
        assert [next_command(commands) for _ in range(3)] == _ENDING_AFTER_PANIC
        process.kill()
        process.wait(WAIT)
        assert running.stderr is not None
        assert running.stderr.read() == "vmnet: error: guard: the guest panicked\n"


def test_the_port_can_produce_the_forced_status() -> None:
    """QEMU's isa-debug-exit exits with twice the written value plus one."""
    written = FORCED_STATUS >> 1
    assert written << 1 | 1 == FORCED_STATUS


@pytest.mark.parametrize(
    ("event", "data", "said"),
    [
        ("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}, "guard: the guest powered off"),
        ("SHUTDOWN", {"guest": False, "reason": "host-error"}, "guard: QEMU ends: host-error"),
        ("RESET", {"guest": True, "reason": "guest-reset"}, "guard: the guest reboots"),
        ("GUEST_PANICKED", {"action": "poweroff"}, "error: guard: the guest panicked"),
    ],
)
def test_it_logs_why_qemu_ends(tmp_path: Path, event: str, data: dict[str, Any], said: str) -> None:
    events = ({"event": event, "data": data},)
    done, _ = watched(tmp_path, "system_powerdown", signal.SIGTERM, events=events)
    assert done.stderr.splitlines()[1:] == [f"vmnet: {said}"]


_OFF = {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}}
_QUIT = {"event": "SHUTDOWN", "data": {"guest": False, "reason": "host-qmp-quit"}}


@pytest.mark.parametrize(
    ("events", "said"),
    [
        pytest.param(
            ({"event": "STOP"}, _OFF),
            "warning: guard: QEMU was forced to quit: the guest did not power off",
            id="forced by another client",
        ),
        pytest.param(
            ({"event": "STOP"}, {"event": "RESUME"}, _OFF),
            "guard: the guest powered off",
            id="paused before",
        ),
        pytest.param(
            (_OFF, {"event": "STOP"}, _QUIT),
            "guard: the guest powered off",
            id="quit afterwards",
        ),
    ],
)
def test_an_end_that_another_client_causes_is_logged_once(
    tmp_path: Path, events: tuple[dict[str, Any], ...], said: str
) -> None:
    done, _ = watched(tmp_path, "system_powerdown", signal.SIGTERM, events=events)
    assert done.stderr.splitlines()[1:] == [f"vmnet: {said}"]


def test_its_log_can_be_json(tmp_path: Path) -> None:
    done, _ = watched(tmp_path, "system_powerdown", signal.SIGTERM, form="json")
    (entry,) = map(json.loads, done.stderr.splitlines())
    assert entry.keys() == {"time", "level", "event", "message"}
    assert (entry["level"], entry["event"]) == ("info", "guest.stopping")
    assert entry["message"] == "guard: SIGTERM: pressing the guest's power button"


def test_the_guard_ends_with_the_process(tmp_path: Path) -> None:
    with (
        machine() as process,
        subprocess.Popen(
            guard_of(process, tmp_path / "absent", 8, "text"), stderr=subprocess.PIPE
        ) as running,
    ):
        process.kill()
        process.wait(WAIT)
        assert running.wait(WAIT) == 0
        assert running.stderr is not None
        assert running.stderr.read() == b""


def test_a_control_socket_that_appears_late_is_found(tmp_path: Path) -> None:
    qmp = tmp_path / "qmp.sock"
    with (
        machine() as process,
        subprocess.Popen(
            guard_of(process, qmp, 60, "text"), stderr=subprocess.PIPE, text=True
        ) as running,
    ):
        process.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        assert "SIGTERM" in running.stderr.readline()
        monitor = Monitor(qmp, process, "system_powerdown")
        monitor.start()
        assert running.wait(WAIT) == 0
        monitor.join(10)
    assert monitor.commands == [*CONNECT, "system_powerdown"]


def test_a_control_socket_that_is_not_there_at_the_deadline_is_reported(tmp_path: Path) -> None:
    with (
        machine() as process,
        subprocess.Popen(
            guard_of(process, tmp_path / "absent", 0.3, "text"), stderr=subprocess.PIPE, text=True
        ) as running,
    ):
        process.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        said = [running.stderr.readline() for _ in range(4)]
        process.kill()
        process.wait(WAIT)
        assert running.wait(WAIT) == 0
    assert "can't connect to QEMU's control socket: [Errno 2]" in said[3]


def test_guard_and_keeper_block_stop_signals(tmp_path: Path) -> None:
    with machine() as running:
        words = guard_of(running, tmp_path / "absent", 8, "text")
        spawned = process.spawn(words, signals.STOP_SIGNALS)
        guard_pid = until(lambda: _guard_pid(spawned), WAIT, "the guard")
        for pid in (spawned, guard_pid):
            assert _blocked(pid) >= set(NAMES)
            os.kill(pid, signal.SIGTERM)
        assert _guard_pid(spawned) == guard_pid
        running.kill()
        running.wait(WAIT)
        assert os.waitstatus_to_exitcode(os.waitpid(spawned, 0)[1]) == 0


def _guard_pid(keeper: int) -> int | None:
    """Return the PID of a keeper's guard."""
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    named = (int(pid) for pid in children if _name(int(pid)) == "vmnet-guard")
    return next(named, None)


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_killed_guard_is_replaced(tmp_path: Path) -> None:
    qmp = tmp_path / "qmp.sock"
    with (
        machine() as process,
        subprocess.Popen(
            guard_of(process, qmp, 60, "text"), stderr=subprocess.PIPE, text=True
        ) as keeper,
    ):
        first = until(lambda: _guard_pid(keeper.pid), WAIT, "the guard")
        assert _name(keeper.pid) == "vmnet-keeper"
        os.kill(first, signal.SIGKILL)
        assert keeper.stderr is not None
        said = keeper.stderr.readline()
        process.send_signal(signal.SIGTERM)
        monitor = Monitor(qmp, process, "system_powerdown")
        monitor.start()
        assert keeper.wait(WAIT) == 0
        monitor.join(10)
    assert said == ("vmnet: error: guard: ended before the VM (SIGKILL): starting it again\n")
    assert monitor.commands == [*CONNECT, "system_powerdown"]


def test_a_closed_log_does_not_prevent_a_stop(tmp_path: Path) -> None:
    qmp = tmp_path / "qmp.sock"
    with machine() as process:
        monitor = Monitor(qmp, process, "system_powerdown")
        monitor.start()
        process.send_signal(signal.SIGTERM)
        reader, writer = os.pipe()
        os.close(reader)
        with subprocess.Popen(guard_of(process, qmp, 20, "text"), stderr=writer) as running:
            os.close(writer)
            assert running.wait(WAIT) == 0
        monitor.join(25)
    assert monitor.commands == [*CONNECT, "system_powerdown"]


def _blocked(pid: int) -> set[int]:
    line = Path(f"/proc/{pid}/status").read_text().split("SigBlk:")[1].split()[0]
    return {number for number in NAMES if int(line, 16) >> (number - 1) & 1}


@pytest.mark.parametrize("program", ["guard", "keeper"])
def test_guard_and_keeper_import_little(program: str) -> None:
    """Their imports stay in memory as long as the VM runs (bench/memory)."""
    folder = str(Path(guard.__file__).parents[1])
    code = f"import sys; sys.path.append({folder!r}); import supervision.{program}"
    code += "; print(*sys.modules)"
    argv = (sys.executable, "-I", "-S", "-B", "-c", code)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT, check=True)
    heavy = {"vmnet", "collections", "ctypes", "enum", "json", "re", "signal", "socket", "typing"}
    assert not heavy & set(done.stdout.split())
