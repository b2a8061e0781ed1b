"""Request a page from a server that may not listen yet, such as that of a guest that boots."""

from __future__ import annotations

from typing import Protocol

from .command import Argument, Completed
from .wait import WAIT, until

_SECONDS = 2 * WAIT
"""Bound of the requests, as long as a boot may take."""
# Not --retry, with which curl prints what each request receives, also before a connection breaks.
# An emulated guest on a busy machine runs the script of a page for up to 20 s.
_CURL = ("curl", "-sSf", "--connect-timeout", "10", "--max-time", "60")


class Run(Protocol):
    """A function that runs a program at a certain place, such as :meth:`Namespace.run`."""

    def __call__(self, *argv: Argument, check: bool = True, timeout: float = WAIT) -> Completed: ...


def fetch(run: Run, url: str) -> Completed:
    """Run curl until the server has answered completely, and return the last run's output."""
    errors = [""]

    def answer() -> Completed | None:
        done = run(*_CURL, url, check=False)
        errors.append(done.stderr)
        return None if done.returncode else done

    what = f"an answer from {url}"
    return until(answer, _SECONDS, what, interval=1, detail=lambda: errors[-1])
