"""The guard's watch of the keeper, and the start of a new keeper.

The guard has no capabilities, so neither has the new keeper. It can start another guard. It fails
to start programs that need privileges, such as dnsmasq, which the log and `vmnet health` report.
"""

from __future__ import annotations

import os
import time

from . import ends, spawning
from .signals import STOP_SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .log import Log

_PAUSES = 1.0, 60.0
_LESS_PRIVILEGED = (
    "the new keeper can't restart programs that need privileges, such as dnsmasq: restart the "
    "container when the log reports that one has ended"
)


class KeeperWatch:
    """The process that restarts the guard, and that the guard restarts.

    :param argv: the command line of a new keeper
    """

    def __init__(self, pid: int, argv: Sequence[str], log: Log) -> None:
        self._argv, self._log = argv, log
        self._pid, self._end = pid, -1
        self._pause, self._due = _PAUSES[0], 0.0
        self._watch(pid)

    def fileno(self) -> int:
        return self._end

    def check(self) -> float:
        """Replace the keeper if it has ended, and return the seconds until the next check."""
        now = time.monotonic()
        if self._end >= 0 and ends.has_ended(self._end):
            os.close(self._end)
            self._log_end()
        if self._end < 0 and now >= self._due:
            self._start()
        return _PAUSES[1] if self._end >= 0 else self._due - now

    def _log_end(self) -> None:
        self._end, self._due = -1, time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _PAUSES[1])
        status = ends.describe(ends.exit_status(self._pid))
        text = f"ended before the VM ({status}): starting it again"
        self._log.error(text, _LESS_PRIVILEGED, event="helper.restarting")

    def _start(self) -> None:
        try:
            self._watch(spawning.spawn(self._argv, masked=STOP_SIGNALS, session=True))
        except OSError as error:
            self._log.error(f"can't be started: {error}", event="helper.start_failed")
            self._due = time.monotonic() + _PAUSES[1]

    def _watch(self, pid: int) -> None:
        self._pid = pid
        try:
            self._end = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            self._log_end()
