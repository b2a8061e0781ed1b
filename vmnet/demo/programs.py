"""Run the demonstration's programs, in the foreground or in the background."""

from __future__ import annotations

import logging
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

_log = logging.getLogger(__name__)
SECONDS = 60.0
"""For a program that takes a moment, even on a busy machine."""


@frozen
class Output:
    """A program's output and exit status.

    :param status: the exit status; the negative number of a signal that killed the program
    """

    status: int
    stdout: str
    stderr: str


def ask(argv: Sequence[str], *, seconds: float = SECONDS) -> Output:
    """Run a program and return its output.

    :raises TimeoutError: the program did not end in time, and was killed
    :raises OSError: the program can't be executed
    """
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
    return Output(done.returncode, done.stdout, done.stderr)


@frozen
class Background:
    """A program started by :func:`background`."""

    pid: int
    _popen: subprocess.Popen[bytes]

    def poll(self) -> int | None:
        """Return the exit status, or None while the program runs."""
        return self._popen.poll()


@contextmanager
def background(
    argv: Sequence[str], environ: Mapping[str, str], output: Path
) -> Iterator[Background]:
    """Run a program during the context, and kill it at the end.

    The program has its own session, so that only this process gets a terminal's Ctrl-C.

    :param environ: the program's whole environment
    :param output: the file for its standard output and error
    :raises OSError: the program can't be executed
    """
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
        started.wait(SECONDS)
