"""Errors of the disks: what the guard logs, and when it resumes the guest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.wait import WAIT, until
from tests.unit.captured_log import CapturedLog
from tests.unit.test_guard import connected, machine, next_command
from vmnet.running import snapshot_lock
from vmnet.supervision.disk_errors import RETRY_SECONDS, DiskErrors

FULL = {
    "device": "disk0",
    "operation": "write",
    "action": "stop",
    "nospace": True,
    "reason": "No space left on device",
}
BROKEN = {
    "device": "disk0",
    "operation": "read",
    "action": "report",
    "nospace": False,
    "reason": "Input/output error",
}


@pytest.fixture
def disks(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> DiskErrors:
    caplog.set_level("INFO")
    return DiskErrors(CapturedLog("text"), str(tmp_path))


def test_a_full_disk_is_logged_once_and_the_guest_resumed_until_it_runs(
    disks: DiskErrors, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    for _ in range(3):
        disks.report(FULL, now)
        assert not disks.must_resume(now), "QEMU has just found that there is no room"
        now += RETRY_SECONDS
        assert disks.must_resume(now)
        disks.resumed(now)
        assert not disks.must_resume(now)
    assert caplog.messages == [
        "disk0: the host's disk is full: the guest is stopped until there is room"
    ]
    assert not disks.must_resume(now + RETRY_SECONDS)
    assert caplog.messages[1:] == ["the host's disk has room again: the guest runs"]
    assert not disks.must_resume(now + 1000)


def test_a_guest_that_another_client_stopped_is_not_resumed(disks: DiskErrors) -> None:
    assert not disks.must_resume(1000.0)
    disks.report(FULL, 1000.0)
    disks.resumed(1001.0)
    assert not disks.must_resume(2000.0)
    assert not disks.must_resume(3000.0)


def test_a_guest_that_is_being_saved_is_not_resumed(disks: DiskErrors, tmp_path: Path) -> None:
    """QEMU waits for the disks when `vmnet stop --save` stops the guest, and may find no room."""
    now = 100.0
    disks.report(FULL, now)
    with snapshot_lock.locked(tmp_path):
        now += RETRY_SECONDS
        assert not disks.must_resume(now)
        (tmp_path / "saved.json").touch()
    now += RETRY_SECONDS
    assert not disks.must_resume(now), "it is saved, and QEMU is about to quit"
    (tmp_path / "saved.json").unlink()
    now += RETRY_SECONDS
    assert disks.must_resume(now)


def test_other_errors_are_logged_up_to_a_limit(
    disks: DiskErrors, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        disks.report(BROKEN, 0.0)
    assert not disks.must_resume(1000.0)
    assert caplog.messages[0] == ("disk0: read failed: Input/output error; the guest was informed")
    assert len(caplog.messages) == 100
    assert caplog.messages[-1].endswith("further errors of the disks are not logged")


def answer(state: str) -> dict[str, Any]:
    return {"return": {"status": state, "running": state == "running"}, "id": "status"}


def test_a_guest_that_was_stopped_without_a_connection_is_resumed(
    disks: DiskErrors, caplog: pytest.LogCaptureFixture
) -> None:
    assert disks.is_answer(answer("running"), 100.0)
    assert not disks.must_resume(200.0)
    assert disks.is_answer(answer("io-error"), 200.0)
    assert disks.must_resume(200.0 + RETRY_SECONDS)
    assert disks.is_answer(answer("io-error"), 210.0)
    assert len(caplog.messages) == 1, "after a second connect"
    assert disks.is_answer(answer("running"), 300.0)
    assert not disks.must_resume(300.0 + RETRY_SECONDS)
    assert caplog.messages[1:] == ["the host's disk has room again: the guest runs"]


def test_a_guest_that_another_error_stopped_is_not_resumed_again(
    disks: DiskErrors, caplog: pytest.LogCaptureFixture
) -> None:
    """The user may set werror=stop. The guard learns the error when it resumes the guest."""
    disks.is_answer(answer("io-error"), 100.0)
    assert disks.must_resume(105.0)
    disks.resumed(105.0)
    disks.report({**BROKEN, "action": "stop"}, 105.0)
    assert not disks.must_resume(1000.0)
    assert caplog.messages[1:] == [
        "disk0: read failed: Input/output error; "
        "QEMU stopped the guest, as its option werror or rerror requires"
    ]


def test_other_messages_are_no_answers(disks: DiskErrors) -> None:
    assert not disks.is_answer({"return": {}}, 0.0)
    assert not disks.is_answer({"event": "STOP"}, 0.0)


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(({"event": "BLOCK_IO_ERROR", "data": FULL}, {"event": "STOP"}), id="event"),
        pytest.param((answer("io-error"),), id="before"),
    ],
)
def test_the_guard_resumes_the_guest(tmp_path: Path, messages: tuple[dict[str, Any], ...]) -> None:
    """A real guard, with a control socket that reports a full disk."""
    with (
        machine() as process,
        connected(process, tmp_path / "qmp.sock") as (running, theirs, commands),
    ):
        for message in messages:
            theirs.sendall(json.dumps(message).encode() + b"\n")
        assert next_command(commands) == {"execute": "cont"}
        process.kill()
        process.wait(WAIT)
        until(lambda: running.poll() is not None, WAIT, "the keeper's end")
        assert running.stderr is not None
        assert "the guest is stopped until there is room" in running.stderr.read()
