"""Programs that the demonstration runs for their output, or beside itself."""

from __future__ import annotations

import logging
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

_log = logging.getLogger(__name__)
_SECONDS = 10.0


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
    _popen: subprocess.Popen[bytes]

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
