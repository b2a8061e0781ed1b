"""The hypervisor's process: whether it has ended, and which stop signal is pending for it."""

from __future__ import annotations

import os

from . import ends
from .signals import STOP_SIGNALS


class Hypervisor:
    """The hypervisor's process.

    :ivar end: its pidfd
    :raises ProcessLookupError: the process has ended
    """

    def __init__(self, pid: int) -> None:
        self.end = os.pidfd_open(pid)
        self._status = os.open(f"/proc/{pid}/status", os.O_RDONLY)

    def has_ended(self) -> bool:
        return ends.has_ended(self.end)

    def pending(self) -> int:
        """Return a pending stop signal, or 0."""
        try:
            return pending(os.pread(self._status, 4096, 0))
        except ProcessLookupError:
            return 0


def pending(status: bytes) -> int:
    """Return a stop signal that is pending for a process, or 0.

    :param status: the content of /proc/PID/status (proc_pid_status(5))
    """
    for line in status.splitlines():
        if line.startswith(b"ShdPnd:"):
            mask = int(line.split()[1], 16)
            return next((number for number in STOP_SIGNALS if mask >> (number - 1) & 1), 0)
    return 0
