"""Request a page from a server that may not listen yet, such as that of a guest that boots."""

from __future__ import annotations

from typing import Protocol

from .command import Argument, Completed
from .wait import WAIT

_SECONDS = 2 * WAIT
"""Bound of the requests, as long as a boot may take."""
# Bounded by time, because a refused request takes no time, and an unanswered one seconds.
_CURL = (
    *("curl", "-sSf", "--max-time", "20"),
    *("--retry", "10000", "--retry-all-errors", "--retry-delay", "1"),
    *("--retry-max-time", str(_SECONDS)),
)


class Run(Protocol):
    """A function that runs a program at a certain place, such as :meth:`Namespace.run`."""

    def __call__(self, *argv: Argument, timeout: float = WAIT) -> Completed: ...


def fetch(run: Run, url: str) -> Completed:
    """Run curl, which repeats its request until the server answers."""
    return run(*_CURL, url, timeout=_SECONDS + WAIT)
