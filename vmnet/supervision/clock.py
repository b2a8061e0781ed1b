"""A clock that stands still while the container is paused or the host sleeps."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Poll(Protocol):
        """Part of select.poll."""

        def poll(self, milliseconds: int, /) -> object: ...


# What takes this much too long was a pause. A busy host delays the guard less.
LATE_SECONDS = 5.0


class Clock:
    """Seconds in which this process could run.

    The engine pauses a container by freezing its processes, wherever they are: in a wait or between
    two. The kernel's clocks go on. While the host sleeps, CLOCK_MONOTONIC does not.
    """

    def __init__(self) -> None:
        self._seen, self._paused = time.monotonic(), 0.0
        self._slept = _seconds_slept()
        self._was_paused = False

    def now(self) -> float:
        """Return the time without the pauses."""
        self._look(0.0)
        return self._seen - self._paused

    def wait(self, poll: Poll, seconds: float) -> bool:
        """Wait for an event, and return whether there was a pause since the last wait."""
        self._look(0.0)
        poll.poll(int(max(seconds, 0.0) * 1000) + 1)
        self._look(seconds)
        slept, self._slept = _seconds_slept() - self._slept, _seconds_slept()
        was_paused = self._was_paused or slept > LATE_SECONDS
        self._was_paused = False
        return was_paused

    def _look(self, seconds: float) -> None:
        """Leave out the time since the last look if it is much longer than expected."""
        now = time.monotonic()
        late = now - self._seen - seconds
        self._seen = now
        if late > LATE_SECONDS:
            self._paused += late
            self._was_paused = True


def _seconds_slept() -> float:
    """Return the seconds that the host has slept since its boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
