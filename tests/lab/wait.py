"""Wait for a condition, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAIT = 120
"""Seconds. Bound of the tests' waits for what takes at most a few seconds on an idle machine.

Only a test that fails waits that long. A busy machine is many times slower than an idle one.
"""


class TimedOutError(AssertionError):
    """A condition did not become true in time."""


def until(
    predicate: Callable[[], T | None],
    timeout: float,
    what: str,
    *,
    interval: float = 0.05,
    detail: Callable[[], str] | None = None,
) -> T:
    """
    Call *predicate* until its result is true, and return the result.

    :param timeout: seconds, usually :data:`WAIT`. The predicate is called once more at the end.
    :param what: completes the failure's message, "timed out after … s waiting for …".
    :param detail: returns details for the failure, such as a program's output.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        if result := predicate():
            return result
        if late:
            more = f"\n{detail()}" if detail else f" (last result: {result!r})"
            raise TimedOutError(f"timed out after {timeout:g} s waiting for {what}{more}")
        time.sleep(interval)
