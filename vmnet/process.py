"""The only door to child processes: argument lists, bounded waits, exit statuses read."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

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


def run(argv: Sequence[str]) -> Outcome:
    """Run a program that ends by itself, or goes into the background, within ten seconds.

    Its standard error goes to a file and not to a pipe: a daemon that keeps a pipe open would have
    us wait for the daemon's end.

    :raises TimeoutError: it did not; it has been killed
    :raises OSError: it can't be executed
    """
    import subprocess
    import tempfile

    _log.debug("%s", shlex.join(argv))
    with tempfile.TemporaryFile() as stderr:
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{argv[0]} did not finish in {_SECONDS:.0f} s") from None
        stderr.seek(0)
        return Outcome(done.returncode, stderr.read().decode("utf-8", "replace").strip())
