"""Waiting for a condition, never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TimedOutError(AssertionError):
    """A condition did not come true in its time."""


def until(
    predicate: Callable[[], T | None],
    timeout: float,
    what: str,
    *,
    interval: float = 0.05,
    detail: Callable[[], str] | None = None,
) -> T:
    """
    Call *predicate* until what it returns is true, and return that.

    :param timeout: seconds; the predicate is called once more at the very end.
    :param what: completes the sentence "waited … s for …" of the failure.
    :param detail: tells more for the failure, such as a program's output.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        if result := predicate():
            return result
        if late:
            more = f"\n{detail()}" if detail else f" (last answer: {result!r})"
            raise TimedOutError(f"waited {timeout:g} s for {what}, in vain{more}")
        time.sleep(interval)
