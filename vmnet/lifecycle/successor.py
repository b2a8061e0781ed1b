"""The guard's watch of its keeper: another one takes its place.

The guard holds no capability, and so neither does that keeper. It still starts another guard; for
what takes privileges, such as dnsmasq, its attempts fail, are logged, and `vmnet health` shows it.
"""

from __future__ import annotations

import os
import time

from . import beside
from .beside import STOP_SIGNALS, Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PAUSES = 1.0, 60.0
_LESS = "it may not start again what takes privileges: restart the container if something ends"


class Keeper:
    """The process that starts another guard when this one has ended, watched in turn.

    :param argv: starts another one
    """

    def __init__(self, pid: int, argv: Sequence[str], log: Log) -> None:
        self._argv, self._log = argv, log
        self._pid, self._end = pid, -1
        self._pause, self._due = _PAUSES[0], 0.0
        self._watch(pid)

    def fileno(self) -> int:
        return self._end

    def look(self) -> float:
        """Replace it if it has ended; seconds until the next look is due."""
        now = time.monotonic()
        if self._end >= 0 and beside.has_ended(self._end):
            os.close(self._end)
            self._missed()
        if self._end < 0 and now >= self._due:
            self._start()
        return _PAUSES[1] if self._end >= 0 else self._due - now

    def _missed(self) -> None:
        self._end, self._due = -1, time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _PAUSES[1])
        how = beside.how(beside.status_of(self._pid))
        self._log.error(f"ended before the machine ({how}): another takes its place", _LESS)

    def _start(self) -> None:
        try:
            self._watch(beside.spawn(self._argv, masked=STOP_SIGNALS, session=True))
        except OSError as error:
            self._log.error(f"can't be started: {error}")
            self._due = time.monotonic() + _PAUSES[1]

    def _watch(self, pid: int) -> None:
        self._pid = pid
        try:
            self._end = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended before we could look
            self._missed()
