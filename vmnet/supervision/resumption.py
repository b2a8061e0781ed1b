"""Set the guest's clock right after a pause.

The clock of a guest that QEMU stops does not go on. This may also be so when the engine freezes the
container, or the host sleeps. So the guard runs a program that asks the guest's agent
(:mod:`vmnet.running.guest_clock`), whatever paused or resumed the guest.
"""

from __future__ import annotations

import os

from . import ends, spawning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .log import Log

# While a disk is full, the guest stops again at once.
SETTLE_SECONDS = 1.0
NO_AGENT_STATUS = 3
"""The exit status of the program if there is no agent."""
_NEVER = float("inf")
# A guest that has not started yet, or that failed, is not among them.
_PAUSED = ("paused", "io-error")


class Resumption:
    """Follows QEMU's events STOP and RESUME, and its status, and runs a program after a pause.

    :param argv: the program. It gets one more argument: ``log`` if it is to log a missing agent,
        ``silent`` if that has been logged.
    """

    def __init__(self, argv: Sequence[str], log: Log) -> None:
        self._argv, self._log = argv, log
        self._is_stopped = False
        self._due = _NEVER
        self._pid = self._end = -1
        self._silence = "log"

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the program ends, or -1."""
        return self._end

    def stopped(self) -> None:
        self._is_stopped, self._due = True, _NEVER

    def resumed(self, now: float) -> None:
        """Note that the guest runs. Without a pause before, this changes nothing."""
        if self._is_stopped:
            self._is_stopped = False
            self.slept(now)

    def slept(self, now: float) -> None:
        """Note that QEMU did not run for some time, and runs again."""
        if not self._is_stopped:
            self._due = now + SETTLE_SECONDS

    def note(self, status: Mapping[str, object], now: float) -> None:
        """Note the guest's state.

        The guard may have been without a connection when QEMU stopped or resumed the guest.
        """
        if status.get("status") in _PAUSED:
            self.stopped()
        elif status.get("running"):
            self.resumed(now)

    def check(self, now: float) -> float:
        """Run the program if it is due and does not run, and return when to check again."""
        if self._end >= 0 and ends.has_ended(self._end):
            os.close(self._end)
            self._end = -1
            self._note_end(ends.exit_status(self._pid))
        if self._end < 0 and now >= self._due:
            self._due = _NEVER
            self._run()
        return _NEVER if self._end >= 0 else self._due

    def _run(self) -> None:
        try:
            self._pid = spawning.spawn((*self._argv, self._silence), session=True)
        except OSError as error:
            self._warn(str(error))
            return
        self._end = os.pidfd_open(self._pid)

    def _note_end(self, status: int | None) -> None:
        self._silence = "silent" if status == NO_AGENT_STATUS else "log"
        if status not in (0, NO_AGENT_STATUS):
            self._warn(f"the program that sets it failed ({ends.describe(status)})")

    def _warn(self, why: str) -> None:
        text = f"the guest's clock may be late after a pause: {why}"
        self._log.warning(text, event="guest.clock_late")
