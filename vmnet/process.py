"""The only door of a start to child processes: argument lists, bounded waits, statuses read."""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from vmnet.noun import Noun, noun

_log = logging.getLogger(__name__)
_SECONDS = 10.0


@noun
class Outcome(Noun):
    """How a child ended.

    :param status: its exit status, negative for a signal's number
    """

    status: int
    stderr: str


@noun
class Answer(Noun):
    """What a child had to say, and how it ended.

    :param status: its exit status, negative for a signal's number
    """

    status: int
    stdout: str
    stderr: str


def find(program: str) -> Path | None:
    """The program's path, from PATH; None where it is not installed."""
    for folder in os.get_exec_path():
        path = Path(folder, program)
        if os.access(path, os.X_OK) and path.is_file():
            return path
    return None


def spawn(argv: Sequence[str], masked: Iterable[int] | None = None) -> int:
    """Start a program that lives on beside us, and beside what we become; answer its PID.

    It has its own session, so that a terminal's Ctrl-C does not reach it, and its standard output
    and error are our standard error.

    :param masked: the signals that it is to have blocked; None for those that we have
    :raises OSError: it can't be executed
    """
    return _start(argv, (2, 1), masked=masked)


def run(argv: Sequence[str]) -> Outcome:
    """Run a program that ends by itself, or goes into the background, within ten seconds.

    What it says goes to a file in memory and not to a pipe: a daemon that keeps a pipe open would
    have us wait for the daemon's end. Our own standard error is its descriptor 3, where a daemon
    says what the container's log is to tell.

    :raises TimeoutError: it did not; it has been killed
    :raises OSError: it can't be executed
    """
    with _file("output") as output:
        pid = _start(argv, (output, 1), (2, 3), (1, 2))
        return Outcome(_status(pid, argv[0], _SECONDS), _text(output).strip())


def ask(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
) -> Answer:
    """Run a program for its answer, with what it is to read.

    :param environ: its whole environment; None for ours
    :raises TimeoutError: it did not end in time; it has been killed, and all it started with it
    :raises OSError: it can't be executed
    """
    with _file("input", stdin) as given, _file("output") as output, _file("errors") as errors:
        pid = _start(argv, (given, 0), (output, 1), (errors, 2), environ=environ)
        status = _status(pid, argv[0], seconds)
        return Answer(status, _text(output), _text(errors).strip())


@contextmanager
def _file(name: str, content: bytes = b"") -> Iterator[int]:
    """A file in memory: unlike a pipe, it takes and gives any length without anybody beside it."""
    fd = os.memfd_create(name)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _text(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "replace")


def _start(
    argv: Sequence[str],
    *streams: tuple[int, int],
    environ: Mapping[str, str] | None = None,
    masked: Iterable[int] | None = None,
) -> int:
    """posix_spawn(3), and not the subprocess module, which takes longer to import than to use.

    :param streams: descriptors and the numbers they are to have in the child, one after the other
    """
    if _log.isEnabledFor(logging.DEBUG):
        import shlex

        _log.debug("%s", shlex.join(argv))
    actions = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        *((os.POSIX_SPAWN_DUP2, fd, number) for fd, number in streams),
    )
    own = os.environ if environ is None else environ
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if masked is None else masked
    return os.posix_spawn(
        argv[0], list(argv), own, file_actions=actions, setsid=True, setsigmask=mask
    )


def _status(pid: int, program: str, seconds: float) -> int:
    """The exit status of a child that leads a session; whatever keeps us from it ends them all."""
    try:
        _await_end(pid, program, seconds)
    except BaseException:  # a signal's exception, too
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _await_end(pid: int, program: str, seconds: float) -> None:
    end = os.pidfd_open(pid)
    try:
        if not select.select([end], [], [], seconds)[0]:
            raise TimeoutError(f"{program} did not finish in {seconds:.0f} s")
    finally:
        os.close(end)
