"""The keeper: it restarts processes that ended, and runs programs when something changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from vmnet_qemu import hotplug

from tests.lab.wait import WAIT, until
from tests.unit.supervised import guard_command, keeper_command
from vmnet import testing
from vmnet.lifecycle import helpers
from vmnet.lifecycle.changes import uplink_changes
from vmnet.running import qmp_session, sockets
from vmnet.supervision import ends, keeper, keeping, watches
from vmnet.supervision.log import Log
from vmnet.supervision.pidfiles import read as read_pid
from vmnet.supervision.pidfiles import request_restart
from vmnet.supervision.watches import Watch

if TYPE_CHECKING:
    from vmnet.supervision.keeping import Task

_PAUSES = (0.01,) * 3


@contextmanager
def kept(*tasks: Task[None]) -> Iterator[None]:
    """Run a keeper's tasks for a process that ends with the context."""
    with subprocess.Popen(("sleep", "60")) as machine:
        end = os.pidfd_open(machine.pid)
        thread = threading.Thread(target=keeper.keep, args=(end, tasks))
        thread.start()
        try:
            yield
        finally:
            machine.kill()
            thread.join(WAIT)
            os.close(end)
    assert not thread.is_alive()


def daemon_in(folder: Path, script: str = "") -> tuple[str, ...]:
    """Return the command line of a daemon that counts its starts."""
    go = script or "sleep 600 >/dev/null 2>&1 & echo $! > pid"
    return ("/bin/sh", "-c", f"cd {folder}; echo start >> starts; {go}")


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text().splitlines())


def pid_in(folder: Path) -> int:
    found = until(lambda: read_pid(str(folder / "pid")), WAIT, "a PID")
    return int(found)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def daemon(folder: Path, script: str = "") -> Task[None]:
    argv = daemon_in(folder, script)
    return keeping.daemon(Log("text", "helper"), str(folder / "pid"), argv, _PAUSES)


def test_a_killed_daemon_is_restarted_and_ends_with_the_vm(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(daemon_in(tmp_path), check=True)
    first = pid_in(tmp_path)
    with kept(daemon(tmp_path)):
        os.kill(first, signal.SIGKILL)
        second = until(lambda: pid_in(tmp_path) != first and pid_in(tmp_path), WAIT, "another")
        assert starts(tmp_path) == 2
    until(lambda: not lives(second), WAIT, "its end")
    assert capfd.readouterr().err == (
        "vmnet: error: helper: ended before the VM (exit status unknown): starting it again\n"
    )


def test_a_daemon_that_ends_just_before_the_vm_is_no_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swtpm ends when QEMU disconnects, and QEMU exits afterwards."""
    monkeypatch.setattr(keeping, "_LAST_SECONDS", WAIT)
    subprocess.run(daemon_in(tmp_path), check=True)
    with kept(daemon(tmp_path)):
        os.kill(pid_in(tmp_path), signal.SIGKILL)
        until(lambda: not (tmp_path / "pid").exists(), WAIT, "the keeper's notice")
    assert starts(tmp_path) == 1
    assert capfd.readouterr().err == ""


def test_a_requested_restart_is_no_fault(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run(daemon_in(tmp_path), check=True)
    first = pid_in(tmp_path)
    with kept(daemon(tmp_path)):
        request_restart(str(tmp_path / "pid"))
        os.kill(first, signal.SIGTERM)
        until(lambda: pid_in(tmp_path) != first, WAIT, "another process")
    assert capfd.readouterr().err == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pid", "starts"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "failed (status 3)"),
        ("kill -9 $$", "failed (SIGKILL)"),
        ("true", "was started, but wrote no PID to {}/pid"),
    ],
)
def test_the_keeper_gives_up_after_some_restarts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], script: str, why: str
) -> None:
    (tmp_path / "pid").write_text("4194305\n")  # more than the largest possible PID
    with kept(daemon(tmp_path, script)):
        expected = "\n".join(
            (
                "vmnet: error: helper: ended before the VM (exit status unknown): "
                "starting it again",
                *[f"vmnet: error: helper: {why.format(tmp_path)}: trying again"] * 2,
                f"vmnet: error: helper: {why.format(tmp_path)}: giving up",
                "vmnet: hint: it stays down, and the VM without it, until the container is "
                "restarted",
                "",
            )
        )
        logged = ""

        def is_logged() -> bool:
            nonlocal logged
            logged += capfd.readouterr().err
            return logged == expected

        until(is_logged, WAIT, "the whole log", detail=lambda: logged)
    assert starts(tmp_path) == len(_PAUSES)
    assert not (tmp_path / "pid").exists()


def test_a_stable_daemon_gets_all_restarts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "STABLE_SECONDS", 0.0)
    subprocess.run(daemon_in(tmp_path), check=True)
    with kept(daemon(tmp_path)):
        for _ in range(2 * len(_PAUSES)):
            last = pid_in(tmp_path)
            os.kill(last, signal.SIGKILL)
            until(lambda last=last: pid_in(tmp_path) != last, WAIT, "another")  # type: ignore[misc]
    assert starts(tmp_path) == 1 + 2 * len(_PAUSES)


def test_a_start_that_hangs_is_killed(tmp_path: Path) -> None:
    task = keeping.run(("/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; sleep 60"), 0.01)
    fd, seconds = next(task)
    pid = pid_in(tmp_path)
    assert (seconds, ends.has_ended(fd)) == (0.01, False)
    with pytest.raises(keeping.FailedError, match=r"did not finish in 0\.01 s"):
        task.send(False)
    assert not lives(pid)


def test_an_unfinished_start_ends_with_the_vm(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("4194305\n")
    with kept(daemon(tmp_path, "echo $$ > shell; sleep 60")):
        shell = until(lambda: read_pid(str(tmp_path / "shell")), WAIT, "the start")
    assert not lives(shell)


def test_a_daemon_whose_start_is_unfinished_ends_with_the_vm(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("4194305\n")
    background = "setsid sleep 600 >/dev/null 2>&1 & echo $! > pid; echo > written; sleep 60"
    with kept(daemon(tmp_path, background)):
        until((tmp_path / "written").exists, WAIT, "the daemon")
    until(lambda: not lives(pid_in(tmp_path)), WAIT, "its end")


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(keeping, "REST_SECONDS", 0.01)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("change", ["in place", "replaced", "created", "linked"])
def test_a_change_of_a_followed_file_runs_the_program(tmp_path: Path, change: str) -> None:
    followed, ran = tmp_path / "hosts", tmp_path / "ran"
    if change == "linked":
        (tmp_path / "elsewhere").mkdir()
        followed.symlink_to(tmp_path / "elsewhere" / "hosts")
        followed.resolve().write_text("before")
    elif change != "created":
        followed.write_text("before")
    (tmp_path / "results").mkdir()
    ran = tmp_path / "results" / "ran"
    fd = Watch("x", ("true",), (followed,)).open()
    argv = ("/bin/sh", "-c", f"cat {followed} >> {ran}; echo >> {ran}")
    with kept(keeping.run_on_change(Log("text", "x"), fd, argv)):
        for content in ("once", "twice"):
            if change == "replaced":
                (tmp_path / "new").write_text(content)
                (tmp_path / "new").rename(followed)
            else:
                followed.write_text(content)
            until(lambda content=content: _last(ran) == content, WAIT, content)  # type: ignore[misc]
    os.close(fd)


@pytest.mark.usefixtures("short_pauses")
def test_a_program_that_takes_longer_than_its_watch_allows_is_killed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    order = keeper.watch("the links", reading, ("/bin/sleep", "60"), 1)
    os.write(writing, b"change")
    with kept(keeper._task("text", *map(str, order))):
        until(lambda: "did not finish in 1 s" in capfd.readouterr().err, WAIT, "the end")
    for fd in (reading, writing):
        os.close(fd)


def test_a_program_that_follows_the_network_outlives_the_timeouts_of_one_change() -> None:
    (watch,) = helpers._watches((), testing.settings({}), None)
    connecting, answering = sockets._SECONDS, qmp_session.SECONDS
    release = hotplug._RELEASE_SECONDS + answering
    assert watch.seconds > uplink_changes._START_SECONDS + connecting + answering + release
    assert watches.Watch("a file", ()).seconds == keeping.RUN_SECONDS


def _last(path: Path) -> str:
    lines = path.read_text().splitlines() if path.exists() else []
    return lines[-1] if lines else ""


@pytest.mark.usefixtures("short_pauses")
def test_many_changes_cause_one_run_and_a_failure_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    argv = ("/bin/sh", "-c", f"echo ran >> {tmp_path}/ran; echo why >&2; exit 4")
    os.write(writing, bytes(1000))
    with kept(keeping.run_on_change(Log("json", "the links"), reading, argv)):
        until(lambda: "status 4" in capfd.readouterr().err, WAIT, "the failure")
        os.write(writing, b"again")
        until(lambda: _lines(tmp_path / "ran") == 2, WAIT, "the second change")
    for fd in (reading, writing):
        os.close(fd)


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_the_descriptor_of_the_device_watch() -> None:
    fd = Watch("links", ("true",)).open()
    try:
        assert not os.get_blocking(fd)
        assert not os.get_inheritable(fd)
        with pytest.raises(BlockingIOError):
            os.read(fd, 4096)
    finally:
        os.close(fd)


def guarded(folder: Path, machine: int) -> tuple[str, ...]:
    """Return the command line of a keeper for a guard and a daemon."""
    argv = guard_command(machine, folder / "absent", 60, "text", ())
    return keeper_command(
        machine,
        "text",
        folder / "keeper.pid",
        keeper.keep_daemon("the helper", folder / "pid", daemon_in(folder)),
        keeper.keep_guard(folder / "guard.pid", (), argv),
    )


def test_keeper_and_guard_replace_each_other(tmp_path: Path) -> None:
    subprocess.run(daemon_in(tmp_path), check=True)
    pidfiles = tmp_path / "keeper.pid", tmp_path / "guard.pid", tmp_path / "pid"

    def all_new(*old: int) -> tuple[int, ...] | None:
        found = tuple(read_pid(str(pidfile)) or 0 for pidfile in pidfiles)
        return found if all(found) and not set(found) & set(old) else None

    with subprocess.Popen(("sleep", "60")) as machine:
        argv = guarded(tmp_path, machine.pid)
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as first:
            old = until(all_new, WAIT, "keeper and guard")
            until(lambda: _name(old[1]) == "vmnet-guard", WAIT, "the guard")
            os.kill(old[0], signal.SIGKILL)
            unchanged = (None, old[0])
            until(lambda: read_pid(str(pidfiles[0])) not in unchanged, WAIT, "a keeper")
            for pid in old[1:]:
                os.kill(pid, signal.SIGKILL)
            new = until(lambda: all_new(*old), WAIT, "a new guard and helper")
            names = ["vmnet-keeper", "vmnet-guard"]
            until(lambda: [_name(pid) for pid in new[:2]] == names, WAIT, "both names")
            machine.kill()
            machine.wait(WAIT)
            until(lambda: not any(map(lives, new)), WAIT, "the end of all")
            assert first.stderr is not None
            said = first.stderr.read()
    assert "error: keeper: ended before the VM (exit status unknown): starting" in said
    assert "hint: the new keeper can't restart programs that need privileges" in said
    assert "error: guard: ended before the VM (exit status unknown): starting" in said
    assert "error: helper: ended before the VM" in said


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_pid_file_that_can_t_be_written_is_logged(tmp_path: Path) -> None:
    with subprocess.Popen(("sleep", "60")) as machine:
        argv = guard_command(machine.pid, tmp_path / "absent", 60, "text", ())
        order = keeper.keep_guard(tmp_path / "gone" / "guard.pid", (), argv)
        words = keeper_command(machine.pid, "text", tmp_path / "gone" / "keeper.pid", order)
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            said = [running.stderr.readline() for _ in range(2)]
            assert running.poll() is None
            machine.kill()
            machine.wait(WAIT)
            assert running.wait(WAIT) == 0
    assert "error: keeper: can't write" in said[0]
    assert "error: guard: can't write" in said[1]


def test_a_keeper_ends_with_its_daemons_if_the_vm_has_ended_before(tmp_path: Path) -> None:
    with subprocess.Popen(("true",)) as machine:
        machine.wait(WAIT)
    lasting = "sleep 600 >/dev/null 2>&1 & echo $! > pid"
    subprocess.run(daemon_in(tmp_path, lasting), check=True)
    done = subprocess.run(guarded(tmp_path, machine.pid), check=False, timeout=WAIT)
    assert done.returncode == 0
    until(lambda: not lives(pid_in(tmp_path)), WAIT, "the end of the daemon")
    assert starts(tmp_path) == 1
    assert not (tmp_path / "guard.pid").exists()
    assert sys.executable in guarded(tmp_path, 1)
