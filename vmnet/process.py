"""Child processes of a start. No other module of a start creates processes.

Commands are argument lists, every wait is bounded, and every exit status is read.
"""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from vmnet.model.base import frozen

_log = logging.getLogger(__name__)
_SECONDS = 10.0


@frozen
class Outcome:
    """The result of :func:`run`.

    :param status: its exit status, negative for a signal's number
    """

    status: int
    stderr: str


@frozen
class Answer:
    """The result of :func:`ask`.

    :param status: its exit status, negative for a signal's number
    """

    status: int
    stdout: str
    stderr: str


def find(program: str) -> Path | None:
    """Return the program's path from PATH, or None if it is not installed."""
    for folder in os.get_exec_path():
        path = Path(folder, program)
        if os.access(path, os.X_OK) and path.is_file():
            return path
    return None


def spawn(argv: Sequence[str], masked: Iterable[int] | None = None) -> int:
    """Start a program that outlives the start, and return its PID.

    It leads a new session, so that a terminal's Ctrl-C does not reach it. Its standard output and
    error are our standard error.

    :param masked: the signals that are blocked in the program; None: those blocked here
    :raises OSError: it can't be executed
    """
    return _start(argv, (2, 1), masked=masked)


def run(argv: Sequence[str]) -> Outcome:
    """Run a program that ends or goes into the background within ten seconds.

    Its output goes to a file in memory. A daemon that kept a pipe open would make us wait for its
    end. The program's descriptor 3 is our standard error: a daemon can write to the container's log
    there.

    :raises TimeoutError: it took longer, and was killed
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
    """Run a program and return its output.

    :param stdin: its standard input
    :param environ: its whole environment; None: ours
    :raises TimeoutError: it did not end in time, and its process group was killed
    :raises OSError: it can't be executed
    """
    with _file("input", stdin) as file, _file("output") as output, _file("errors") as errors:
        pid = _start(argv, (file, 0), (output, 1), (errors, 2), environ=environ)
        status = _status(pid, argv[0], seconds)
        return Answer(status, _text(output), _text(errors).strip())


@contextmanager
def _file(name: str, content: bytes = b"") -> Iterator[int]:
    """Open a file in memory. Unlike a pipe it needs no reader, whatever its size."""
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
    """Start a program by posix_spawn(3), because importing the subprocess module takes too long.

    :param streams: pairs of a descriptor and its number in the child, duplicated in this order
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
    """Await a child and return its exit status; on an exception, kill its process group."""
    try:
        _await_end(pid, program, seconds)
    except BaseException:  # a signal handler may raise too
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
