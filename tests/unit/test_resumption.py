"""After a pause of the guest, the guard runs the program that sets the guest's clock right."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lab.wait import WAIT, until
from tests.unit import qmp, running
from tests.unit.captured_log import CapturedLog
from tests.unit.test_agent import agent_at
from tests.unit.test_guard import FakeTime, connected, machine
from vmnet.running import guest_clock, snapshot_lock
from vmnet.supervision import clock
from vmnet.supervision.clock import Clock
from vmnet.supervision.resumption import NO_AGENT_STATUS, SETTLE_SECONDS, Resumption

NOW = 10**18  # nanoseconds
STOP, RESUME = {"event": "STOP"}, {"event": "RESUME"}
PAUSED = {"id": "status", "return": {"status": "paused", "running": False}}
RUNNING = {"id": "status", "return": {"status": "running", "running": True}}
FULL = {"id": "status", "return": {"status": "io-error", "running": False}}


class Runs:
    """A program that writes its argument to a file, and ends with the status of another file."""

    def __init__(self, folder: Path) -> None:
        self._file, self._status = folder / "runs", folder / "status"
        self.ends_with(0)
        self.argv = ("/bin/sh", "-c", f"echo $1 >>{self._file}; exit $(cat {self._status})", "sh")

    def ends_with(self, status: int) -> None:
        self._status.write_text(str(status))

    def words(self) -> list[str]:
        return self._file.read_text().split() if self._file.exists() else []

    @staticmethod
    def await_run(followed: Resumption, now: float) -> None:
        """Run the program, which is due, and wait for its end."""
        ended = lambda: followed.check(now) and followed.fileno() < 0  # noqa: E731
        until(ended, WAIT, "the end of the program")


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.fixture
def followed(runs: Runs) -> Resumption:
    return Resumption(runs.argv, CapturedLog("text"))


def pause(followed: Resumption, now: float) -> float:
    """Stop and resume the guest, run the program, and return the time then."""
    followed.stopped()
    assert followed.check(now + 1000) == float("inf"), "the guest is still stopped"
    followed.resumed(now)
    assert followed.check(now) == now + SETTLE_SECONDS
    Runs.await_run(followed, now + SETTLE_SECONDS)
    assert followed.check(now + 1000) == float("inf")
    return now + SETTLE_SECONDS


def test_it_runs_once_for_each_pause_and_logs_a_missing_agent_once(
    followed: Resumption, runs: Runs
) -> None:
    now = 100.0
    for status in (NO_AGENT_STATUS, NO_AGENT_STATUS, 0, NO_AGENT_STATUS, 0):
        runs.ends_with(status)
        now = pause(followed, now)
    assert runs.words() == ["log", "silent", "silent", "log", "silent"]


def test_a_program_that_fails_is_a_warning(
    followed: Resumption, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    runs.ends_with(1)
    pause(followed, 100.0)
    assert caplog.messages == [
        "the guest's clock may be late after a pause: the program that sets it failed (status 1)"
    ]


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda it: it.resumed(0.0), id="a start is no pause"),
        pytest.param(lambda it: it.note({"status": "prelaunch"}, 0.0) or it.resumed(0.0), id="-S"),
        pytest.param(lambda it: it.note(RUNNING["return"], 0.0), id="running"),
        pytest.param(lambda it: it.stopped() or it.slept(0.0), id="frozen while it was stopped"),
        pytest.param(
            lambda it: it.stopped() or it.resumed(0.0) or it.stopped(), id="the disk is still full"
        ),
    ],
)
def test_what_is_no_end_of_a_pause(
    followed: Resumption, happens: Callable[[Resumption], object]
) -> None:
    happens(followed)
    assert followed.check(1000.0) == float("inf")
    assert followed.fileno() == -1


def test_a_program_that_can_not_be_started_is_a_warning(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    followed = Resumption((str(tmp_path / "none"),), CapturedLog("text"))
    followed.slept(0.0)
    assert followed.check(SETTLE_SECONDS) == float("inf")
    assert "clock may be late after a pause: [Errno 2]" in caplog.text


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param((STOP, RESUME), id="events"),
        pytest.param((PAUSED, RESUME), id="the guard connected while the guest was paused"),
        pytest.param((FULL, RESUME), id="a full disk"),
        pytest.param((STOP, RUNNING), id="the guard was disconnected when it was resumed"),
    ],
)
def test_the_guard_follows_pauses(
    tmp_path: Path, runs: Runs, messages: tuple[dict[str, Any], ...]
) -> None:
    with machine() as process, connected(process, tmp_path / "qmp", runs.argv) as (_, sock, _):
        for message in messages:
            sock.sendall(json.dumps(message).encode() + b"\n")
        until(lambda: runs.words() == ["log"], WAIT, "the program to run")
        process.kill()
        process.wait(WAIT)


class SleepingHost(FakeTime):
    """Time on a host that sleeps for some seconds during each wait."""

    def clock_gettime(self, clock: int) -> float:
        return self._now * 100


def test_the_clock_notices_frozen_processes_and_a_sleeping_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeTime(0.0, 4.0, 6.0)
    monkeypatch.setattr(clock, "time", fake)
    own = Clock()
    assert [own.wait(fake, 1.0) for _ in range(4)] == [False, False, True, False]
    before = own.now()
    fake.poll(9000)  # between two waits
    assert own.now() - before == pytest.approx(0, abs=0.1)
    assert [own.wait(fake, 1.0) for _ in range(2)] == [True, False]
    fake = SleepingHost()
    monkeypatch.setattr(clock, "time", fake)
    own = Clock()
    before = own.now()
    assert own.wait(fake, 1.0)
    assert own.now() - before == pytest.approx(1, abs=0.1)


@pytest.fixture
def _standing_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass for the program, however busy the machine is."""
    monkeypatch.setattr(guest_clock, "time", SimpleNamespace(time_ns=lambda: NOW))


def set_right(
    tmp_path: Path,
    late: float,
    *,
    refused: str = "",
    is_silent: bool = False,
    delays: Sequence[float] = (),
) -> tuple[list[str], float]:
    """Run the program, and return the commands that the agent got and how late its clock is.

    :param delays: the seconds after which the guest carries out each command to set the clock
    """
    late_now, delayed = [late], iter(delays)

    def reply(command: str, arguments: dict[str, Any]) -> Any:
        if command == "guest-get-time":
            return {"return": NOW - int(late_now[0] * 1e9)}
        if refused != "before":
            late_now[0] = (NOW - arguments["time"]) / 1e9 + next(delayed, 0)
        return {"error": {"desc": "hwclock failed"}} if refused else {"return": {}}

    record = running.machine(tmp_path)
    assert record.qmp is not None
    assert record.agent is not None
    with qmp.qemu(record.qmp) as qemu, agent_at(record.agent, reply) as asked:
        chardev = {"frontend-open": True, "filename": f"unix:{record.agent},server=on"}
        qemu.answers = {**qemu.answers, "query-chardev": [chardev]}
        assert guest_clock.after_pause(tmp_path, is_silent=is_silent)
    return asked[1:], late_now[0]


@pytest.mark.usefixtures("_standing_time")
@pytest.mark.parametrize(
    ("late", "said"),
    [
        (100.0, "the guest's clock was 100 s late after the pause: it is set"),
        (-100.0, "the guest's clock was 100 s early after the pause: it is set"),
        (0.0, ""),
    ],
)
@pytest.mark.parametrize("refused", ["", "after"])
def test_a_wrong_clock_is_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, late: float, said: str, refused: str
) -> None:
    """The agent reports an error if it can't set the hardware's clock, too."""
    caplog.set_level("INFO")
    asked, left = set_right(tmp_path, late, refused=refused)
    assert ("guest-set-time" in asked) == bool(said)
    assert caplog.messages == ([said] if said else [])
    assert abs(left) < WAIT


@pytest.mark.usefixtures("_standing_time")
def test_a_busy_guest_gets_the_time_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    asked, left = set_right(tmp_path, 100.0, delays=(30.0, 3000.0))
    assert asked.count("guest-set-time") == 3
    assert caplog.messages == ["the guest's clock was 100 s late after the pause: it is set"]
    assert left < 30


@pytest.mark.usefixtures("_standing_time")
def test_a_guest_that_stays_busy_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked, _ = set_right(tmp_path, 100.0, delays=[3000.0] * 5)
    assert asked.count("guest-set-time") == 5
    (said,) = caplog.messages
    assert said.endswith("late after the pause: the guest is too busy to set it in time")


@pytest.mark.usefixtures("_standing_time")
def test_a_refusal_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, left = set_right(tmp_path, 100.0, refused="before")
    assert left == 100.0
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "clock may be late after the pause: the guest's qemu-guest-agent does" in record.message


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_missing_agent_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_silent: bool
) -> None:
    caplog.set_level("INFO")
    with qmp.qemu(tmp_path / "qmp.sock"):
        running.machine(tmp_path)
        assert not guest_clock.after_pause(tmp_path, is_silent=is_silent)
    said = "the guest's clock may be late after the pause: no qemu-guest-agent runs in the guest"
    assert caplog.messages == ([] if is_silent else [said])


def test_a_snapshot_sets_the_clock_itself(tmp_path: Path) -> None:
    running.machine(tmp_path)  # no agent would answer, nor QEMU
    with snapshot_lock.locked(tmp_path):
        guest_clock.after_pause(tmp_path, is_silent=False)


def test_without_a_vm_there_is_nothing_to_set(tmp_path: Path) -> None:
    guest_clock.main(str(tmp_path), "log")
