"""The only door of a start to child processes: argument lists, bounded waits, statuses read."""

from __future__ import annotations

import logging
import os
import select
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from vmnet.noun import Noun

_log = logging.getLogger(__name__)
_SECONDS = 10.0


@frozen(eq=False, repr=False)
class Outcome(Noun):
    """How a child ended.

    :param status: its exit status, negative for a signal's number
    """

    status: int
    stderr: str


def find(program: str) -> Path | None:
    """The program's path, from PATH; None where it is not installed."""
    for folder in os.get_exec_path():
        path = Path(folder, program)
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def spawn(argv: Sequence[str]) -> int:
    """Start a program that lives on beside us, and beside what we become; answer its PID.

    It has its own session, so that a terminal's Ctrl-C does not reach it, and its standard output
    and error are our standard error.

    :raises OSError: it can't be executed
    """
    return _start(argv, (2, 1))


def run(argv: Sequence[str]) -> Outcome:
    """Run a program that ends by itself, or goes into the background, within ten seconds.

    What it says goes to a file in memory and not to a pipe: a daemon that keeps a pipe open would
    have us wait for the daemon's end. Our own standard error is its descriptor 3, where a daemon
    says what the container's log is to tell.

    :raises TimeoutError: it did not; it has been killed
    :raises OSError: it can't be executed
    """
    with os.fdopen(os.memfd_create("output"), "w+b") as output:
        pid = _start(argv, (output.fileno(), 1), (2, 3), (1, 2))
        try:
            _await_end(pid, argv[0])
        except BaseException:  # a signal's exception, too
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output.seek(0)
        return Outcome(status, output.read().decode("utf-8", "replace").strip())


def _start(argv: Sequence[str], *streams: tuple[int, int]) -> int:
    """posix_spawn(3), and not the subprocess module, which takes longer to import than to use.

    :param streams: descriptors and the numbers they are to have in the child, one after the other
    """
    _log.debug("%s", shlex.join(argv))
    actions = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        *((os.POSIX_SPAWN_DUP2, fd, number) for fd, number in streams),
    )
    return os.posix_spawn(argv[0], list(argv), os.environ, file_actions=actions, setsid=True)


def _await_end(pid: int, program: str) -> None:
    end = os.pidfd_open(pid)
    try:
        if not select.select([end], [], [], _SECONDS)[0]:
            raise TimeoutError(f"{program} did not finish in {_SECONDS:.0f} s")
    finally:
        os.close(end)
