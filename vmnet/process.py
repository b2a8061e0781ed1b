"""The only door to child processes: argument lists, bounded waits, exit statuses read."""

from __future__ import annotations

import logging
import os
import select
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from subprocess import Popen

_log = logging.getLogger(__name__)
_SECONDS = 10.0


@frozen
class Outcome:
    """How a child ended.

    :param status: its exit status, negative for a signal's number
    """

    status: int
    stderr: str


def find(program: str) -> Path | None:
    """The program's path, from PATH; None where it is not installed."""
    path = shutil.which(program)
    return Path(path) if path else None


def spawn(argv: Sequence[str]) -> int:
    """Start a program that lives on beside us, and beside what we become; answer its PID.

    It has its own session, so that a terminal's Ctrl-C does not reach it, and its standard output
    and error are our standard error.

    :raises OSError: it can't be executed
    """
    return _start(argv, output=2)


def run(argv: Sequence[str]) -> Outcome:
    """Run a program that ends by itself, or goes into the background, within ten seconds.

    What it says goes to a file in memory and not to a pipe: a daemon that keeps a pipe open would
    have us wait for the daemon's end.

    :raises TimeoutError: it did not; it has been killed
    :raises OSError: it can't be executed
    """
    with os.fdopen(os.memfd_create("output"), "w+b") as output:
        pid = _start(argv, output.fileno())
        try:
            _await_end(pid, argv[0])
        except BaseException:  # a signal's exception, too
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output.seek(0)
        return Outcome(status, output.read().decode("utf-8", "replace").strip())


def _start(argv: Sequence[str], output: int) -> int:
    """posix_spawn(3), and not the subprocess module, which takes longer to import than to use."""
    _log.debug("%s", shlex.join(argv))
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        streams = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate((null, output, output))]
        return os.posix_spawn(argv[0], list(argv), os.environ, file_actions=streams, setsid=True)
    finally:
        os.close(null)


def _await_end(pid: int, program: str) -> None:
    end = os.pidfd_open(pid)
    try:
        if not select.select([end], [], [], _SECONDS)[0]:
            raise TimeoutError(f"{program} did not finish in {_SECONDS:.0f} s")
    finally:
        os.close(end)


@frozen
class Answer:
    """What a program had to say.

    :param status: its exit status, negative for a signal's number
    """

    status: int
    stdout: str
    stderr: str


def ask(argv: Sequence[str], *, seconds: float = _SECONDS) -> Answer:
    """Run a program for its output.

    :raises TimeoutError: it did not end in time; it has been killed
    :raises OSError: it can't be executed
    """
    import subprocess

    _log.debug("%s", shlex.join(argv))
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{argv[0]} did not finish in {seconds:.0f} s") from None
    return Answer(done.returncode, done.stdout, done.stderr)


@frozen
class Background:
    """A program that :func:`background` has started."""

    pid: int
    _popen: Popen[bytes]

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._popen.poll()


@contextmanager
def background(
    argv: Sequence[str], environ: Mapping[str, str], output: Path
) -> Iterator[Background]:
    """A program that runs while the context lasts, and is killed at its end.

    It has a session of its own, so that a terminal's Ctrl-C is ours alone to handle.

    :param environ: its whole environment
    :param output: the file to which its standard output and error go
    :raises OSError: it can't be executed
    """
    import subprocess

    _log.debug("%s", shlex.join(argv))
    with output.open("wb") as file:
        started = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environ,
            start_new_session=True,
        )
    try:
        yield Background(started.pid, started)
    finally:
        started.kill()
        started.wait(_SECONDS)
