"""A clock that stands still while the container is paused or the host sleeps."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Poll(Protocol):
        """Part of select.poll."""

        def poll(self, milliseconds: int, /) -> object: ...


# A wait that takes this much too long was a pause. A busy host delays the guard less.
LATE_SECONDS = 5.0


class Clock:
    """Seconds in which this process could run.

    The engine pauses a container by freezing its processes. The kernel's clocks go on. While the
    host sleeps, CLOCK_MONOTONIC does not.
    """

    def __init__(self) -> None:
        self._paused = 0.0
        self._slept = _seconds_slept()

    def now(self) -> float:
        return time.monotonic() - self._paused

    def wait(self, poll: Poll, seconds: float) -> bool:
        """Wait for an event, leave out a pause, and return whether there was one."""
        before = time.monotonic()
        poll.poll(int(max(seconds, 0.0) * 1000) + 1)
        late = time.monotonic() - before - seconds
        if late > LATE_SECONDS:
            self._paused += late
        slept, self._slept = _seconds_slept() - self._slept, _seconds_slept()
        return max(late, slept) > LATE_SECONDS


def _seconds_slept() -> float:
    """Return the seconds that the host has slept since its boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
