"""Child processes: real programs, time limits and exit statuses."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.wait import WAIT, until
from vmnet import process
from vmnet.demo import programs
from vmnet.process import Answer, Outcome


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("exit 0", Outcome(0, "")),
        ("echo oops >&2; exit 3", Outcome(3, "oops")),
        ("echo said; echo complained >&2", Outcome(0, "said\ncomplained")),
        ("kill -TERM $$", Outcome(-signal.SIGTERM, "")),
        ("printf 'a\\377b\\n' >&2", Outcome(0, "a\ufffdb")),
        ("cat", Outcome(0, "")),
    ],
    ids=["success", "failure", "both streams", "signal", "no text", "no input"],
)
def test_status_and_output_of_a_program(script: str, outcome: Outcome) -> None:
    assert process.run(shell(script)) == outcome


def test_no_shell_interprets_the_arguments(tmp_path: Path) -> None:
    marker = tmp_path / "made"
    assert process.run(("/bin/echo", f"$(touch {marker})", ";", "touch", str(marker))).status == 0
    assert not marker.exists()


def test_a_missing_program() -> None:
    with pytest.raises(FileNotFoundError):
        process.run(("/absent/program",))
    with pytest.raises(FileNotFoundError):
        process.spawn(("/absent/program",))


def test_a_program_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_SECONDS", 0.2)
    started = time.monotonic()
    program = f"sleep {2 * WAIT}.{os.getpid()}"
    with pytest.raises(TimeoutError, match="/bin/sh did not finish in 0 s"):
        process.run(shell(f"exec {program}"))
    assert time.monotonic() - started < WAIT
    assert run("pgrep", "-f", program, check=False).returncode == 1


def test_a_daemon_that_keeps_its_streams_open_does_not_block(tmp_path: Path) -> None:
    outcome = process.run(shell(f"sleep {2 * WAIT} & echo $! > {tmp_path}/pid"))
    assert outcome.status == 0
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_ask_passes_input_and_environment() -> None:
    given = b"told \xff " * 50_000  # more than a pipe buffers
    answer = process.ask(
        shell("cat; echo $GREETING $HOME >&2; exit 3"), stdin=given, environ={"GREETING": "hello"}
    )
    assert answer == Answer(3, given.decode(errors="replace"), "hello")


def test_ask_without_input() -> None:
    assert process.ask(shell("cat; echo $VMNET_ASKED")) == Answer(0, "\n", "")


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $$ $! > {tmp_path}/pids; wait"
    with pytest.raises(TimeoutError, match="/bin/sh did not finish in 3 s"):
        process.ask(shell(script), seconds=3)  # a busy machine may take a second to start it
    shell_pid, sleep_pid = map(int, (tmp_path / "pids").read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(shell_pid, 0)
    # Only PID 1 reaps the child, which may take a moment.
    until(lambda: not is_running(sleep_pid), WAIT, "the end of the child")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_spawn_starts_a_new_session(
    capfd: pytest.CaptureFixture[str],
) -> None:
    pid = process.spawn(shell("echo out; echo err >&2; cat; ps -o sid= -p $$"))
    assert os.waitpid(pid, 0) == (pid, 0)
    out, err = capfd.readouterr()
    assert out == "", "standard output is the guest's console"
    assert err.split() == ["out", "err", str(pid)]


def test_spawn_passes_no_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w"):
        pid = process.spawn(shell(f"ls -l /proc/$$/fd > {tmp_path}/seen"))
        os.waitpid(pid, 0)
    assert f"{tmp_path}/open" not in (tmp_path / "seen").read_text()


def test_find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "program"
    program.touch(0o644)
    assert process.find("program") is None, "a file that can't be executed is no program"
    program.chmod(0o755)
    assert process.find("program") == program
    assert process.find("absent") is None


def test_ask() -> None:
    answer = programs.ask(shell("echo out; echo err >&2; exit 4"))
    assert (answer.status, answer.stdout, answer.stderr) == (4, "out\n", "err\n")


def test_ask_has_a_time_limit() -> None:
    with pytest.raises(TimeoutError, match="/bin/sleep did not finish"):
        programs.ask(("/bin/sleep", "60"), seconds=0.2)


def test_a_background_program_ends_with_its_context(tmp_path: Path) -> None:
    output = tmp_path / "output"
    argv = shell("echo $GREETING; exec sleep 60")
    with programs.background(argv, {"GREETING": "hello"}, output) as started:
        until(output.read_text, WAIT, "the output", interval=0.01)
        assert started.poll() is None
        assert os.getsid(started.pid) == started.pid
    assert started.poll() == -signal.SIGKILL
    assert output.read_text() == "hello\n"
