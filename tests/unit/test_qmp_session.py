"""Queries to QEMU while its guest makes it send a flood of events."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from tests.unit import qmp
from tests.unit.test_stop import OFF
from vmnet.errors import GuestError
from vmnet.running import qmp_session, run_state
from vmnet.running.qmp_session import QmpSession

EVENT = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "ACPI_DEVICE_OST"}\r\n'
NOISE = EVENT * 20000  # more than a socket's buffer


def test_a_session_works_in_a_flood(tmp_path: Path) -> None:
    with (
        qmp.qemu(tmp_path / "qmp.sock", events={"system_powerdown": OFF}, noise=NOISE),
        qmp_session.session(tmp_path / "qmp.sock", "SHUTDOWN") as qemu,
    ):
        assert qemu.ask("query-status")["status"] == "running"
        assert not qemu.await_event(0.01)
        qemu.ask("system_powerdown")
        assert qemu.await_event(WAIT)


def test_the_run_state_is_read_in_a_flood(tmp_path: Path) -> None:
    with qmp.qemu(tmp_path / "qmp.sock", noise=NOISE):
        assert run_state.ask(tmp_path / "qmp.sock", 10) == run_state.RunState("running")


@contextmanager
def sending(what: bytes) -> Iterator[socket.socket]:
    """A connection on which the other end sends the same bytes without end."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with suppress(OSError):
            while True:
                theirs.sendall(what)

    thread = threading.Thread(target=send)
    thread.start()
    with ours:
        yield ours
    thread.join(WAIT)
    theirs.close()


@pytest.mark.parametrize(
    ("what", "seconds", "why"),
    [
        (EVENT, 0.1, "no answer"),
        (b'{"return": 7}\n', 0.1, "no answer"),
        (b"x" * 4096, WAIT, "sends an overlong line"),
        (b'{"return"\n', WAIT, "delimiter"),
        (b'["return"]\n', 0.1, "no answer"),
    ],
)
def test_waiting_for_a_missing_answer_ends(what: bytes, seconds: float, why: str) -> None:
    with sending(what) as connection, pytest.raises(GuestError, match=why):
        QmpSession(connection).ask("query-status", seconds=seconds)


def test_an_answer_that_came_in_time_and_is_read_too_late_counts() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b'{"return": "this", "id": 1}\r\n')
        assert QmpSession(ours).ask("query-status", seconds=0) == "this"


def test_a_refusal_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b'{"error": {"class": "GenericError", "desc": "not now"}, "id": 1}\r\n')
        with pytest.raises(GuestError, match="QEMU does not carry out stop: not now"):
            QmpSession(ours).ask("stop")
        theirs.close()
        with pytest.raises(GuestError, match=r"closed the connection|Broken pipe"):
            QmpSession(ours).ask("stop")
