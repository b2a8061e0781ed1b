"""The guard's connection to QEMU: a flood of events has a bounded cost."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from tests.unit.test_guard import CONNECT, guard_of, machine, next_command
from vmnet.supervision import firmware, qmp
from vmnet.supervision.qmp import Connection

EVENT = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "GUEST_CRASHLOADED"}\r\n'
RESET = b'{"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}\r\n'


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "qmp.sock"))
        listener.listen()
        listener.settimeout(WAIT)
        yield listener


@pytest.fixture
def ours(qemu: socket.socket, tmp_path: Path) -> Iterator[Connection]:
    made = Connection(str(tmp_path / "qmp.sock"))
    assert made.connect(also_after_flood=False)
    yield made
    made.disconnect("the test has ended")


def flood(ours: Connection, theirs: socket.socket, what: bytes = EVENT, times: int = 10**6) -> int:
    """Return how many bytes the monitor accepts before it disconnects."""
    sent = 0
    theirs.setblocking(False)
    for _ in range(times):
        try:
            sent += theirs.send(what)
        except BlockingIOError:
            ours.messages()
        except ConnectionError:
            break
    return sent


def test_irrelevant_lines_are_not_parsed(ours: Connection, qemu: socket.socket) -> None:
    theirs, _ = qemu.accept()
    with theirs:
        theirs.sendall(b"no JSON at all\n[1]\n" + EVENT + b'"error"\n{"STOP"\n' + RESET)
        assert ours.messages() == [json.loads(RESET)]


def test_a_line_in_parts(ours: Connection, qemu: socket.socket) -> None:
    theirs, _ = qemu.accept()
    with theirs:
        theirs.sendall(RESET[:20])
        assert ours.messages() == []
        theirs.sendall(RESET[20:])
        assert ours.messages() == [json.loads(RESET)]


@pytest.mark.parametrize("what", [EVENT, b"x"])
def test_a_flood_closes_the_connection_once_qemu_has_answered(
    ours: Connection, qemu: socket.socket, what: bytes
) -> None:
    """Events, or a line without an end."""
    theirs, _ = qemu.accept()
    with theirs:
        theirs.sendall(b'{"return": {}}\r\n')
        buffered = 1 << 19  # by the kernel
        assert flood(ours, theirs, what) < qmp.FLOOD_BYTES + buffered
    assert (ours.floods, ours.fileno()) == (1, -1)
    assert not ours.connect(also_after_flood=False)
    assert ours.connect(also_after_flood=True), "to send commands"


def test_qemu_has_time_to_answer_during_a_flood(ours: Connection, qemu: socket.socket) -> None:
    """It drops the commands of a client that disconnects."""
    theirs, _ = qemu.accept()
    with theirs:
        theirs.sendall(b'{"return": {}}\r\n')
        ours.messages()
        assert ours.send((b'{"execute": "system_powerdown"}',), 1e9)
        flood(ours, theirs, times=10 * qmp.FLOOD_BYTES // len(EVENT))
        assert ours.floods == 0
        theirs.setblocking(True)
        theirs.settimeout(WAIT)
        ours.messages()
        theirs.sendall(b'{"return": {}}\r\n')
        flood(ours, theirs)
        assert ours.floods == 1


def test_occasional_events_are_no_flood(
    ours: Connection, qemu: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, _ = qemu.accept()
    now = [0.0]
    monkeypatch.setattr("vmnet.supervision.qmp.time.monotonic", lambda: now[0])
    with theirs:
        for _ in range(100):
            now[0] += 10
            theirs.sendall(EVENT * 100)
            ours.messages()
    assert ours.floods == 0


def test_a_buffer_that_the_guest_has_filled_is_no_flood(
    ours: Connection, qemu: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest writes control characters to the BIOS's debug port."""
    (read,) = map(json.loads, firmware.READ)
    answer = json.dumps({"return": "\1" * read["arguments"]["size"], "id": read["id"]})
    now = [0.0]
    monkeypatch.setattr("vmnet.supervision.qmp.time.monotonic", lambda: now[0])
    watched = firmware.Firmware(0.0)
    theirs, _ = qemu.accept()
    received = []
    with theirs:
        for _ in range(300):
            now[0] += 1
            if watched.must_read(now[0]):
                theirs.sendall(answer.encode() + b"\r\n")
            received += ours.messages()
    assert ours.floods == 0
    assert len(received) == 59


def test_a_flooded_guard_handles_a_stop_signal(qemu: socket.socket, tmp_path: Path) -> None:
    """It reconnects to press the button at once."""
    with (
        machine() as process,
        subprocess.Popen(
            guard_of(process, tmp_path / "qmp.sock", 60, "text"), stderr=subprocess.PIPE, text=True
        ) as running,
    ):
        assert running.stderr is not None
        with qemu.accept()[0] as theirs:
            theirs.sendall(b'{"QMP": {}}\r\n{"return": {}}\r\n')
            with suppress(ConnectionError):
                while True:
                    theirs.sendall(EVENT)
        assert "the guest floods QEMU's control socket" in running.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert "SIGTERM: pressing the guest's power button" in running.stderr.readline()
        with qemu.accept()[0] as theirs, theirs.makefile("rb") as lines:
            commands = [next_command(lines)["execute"] for _ in range(3)]
            assert commands == [*CONNECT, "system_powerdown"]
        process.kill()
        process.wait(WAIT)
        assert running.wait(WAIT) == 0


def test_repeated_guest_events_are_logged_a_limited_number_of_times(
    qemu: socket.socket, tmp_path: Path
) -> None:
    with (
        machine() as process,
        subprocess.Popen(
            guard_of(process, tmp_path / "qmp.sock", 60, "text"), stderr=subprocess.PIPE, text=True
        ) as running,
        qemu.accept()[0] as theirs,
    ):
        theirs.sendall(b'{"return": {}}\r\n' + RESET * 300)
        assert running.stderr is not None
        said = [running.stderr.readline() for _ in range(100)]
        process.kill()
        process.wait(WAIT)
        rest = running.stderr.read()
    assert said[0] == "vmnet: guard: the guest reboots\n"
    last = "the guest reboots; further reboots and panics are not logged"
    assert said[-1] == f"vmnet: warning: guard: {last}\n"
    assert rest == ""
