"""The ends of processes: wait for them, and describe them in the log."""

from __future__ import annotations

import os
import select

from .signals import signal_name


def await_end(pidfd: int, seconds: float) -> bool:
    """Wait for the end of a process, and return whether it has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def has_ended(pidfd: int) -> bool:
    return await_end(pidfd, 0)


def exit_status(pid: int) -> int | None:
    """Return the exit status of a child, negative for a signal, or None if it is not our child."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, os.WNOHANG)[1])
    except ChildProcessError:
        return None


def describe(status: int | None) -> str:
    """Return an exit status as text for the log."""
    if status is None:
        return "exit status unknown"
    return signal_name(-status) if status < 0 else f"status {status}"
