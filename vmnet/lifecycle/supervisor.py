"""Stay PID 1 as the parent of the hypervisor, to release allocations when it has ended.

The release must happen whether the guest powered off, the hypervisor crashed or the kernel ran out
of memory. When PID 1 ends, the kernel kills all other processes of the container. So the hypervisor
can't be PID 1 then. A start that allocates nothing needs no supervisor.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTERM,
    signal.SIGPWR,
)
_HANDLED = (signal.SIGCHLD, *_FORWARDED)


def fork() -> int | None:
    """Fork; in the parent, forward signals to the child, reap orphans and await the child's end.

    :return: None in the child. In the parent the child's exit status, or 128 plus a signal's
        number. The parent keeps ignoring the forwarded signals, so that they don't interrupt it.
    """
    # sigwait(3) can't be used: the kernel may deliver the signals to a plugin's thread that does
    # not block them. A handler runs for any thread, and Python then writes to the pipe.
    arrived, writing = os.pipe()
    os.set_blocking(writing, False)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    handlers = {number: signal.signal(number, _handle) for number in _HANDLED}
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    child = os.fork()
    try:
        if child == 0:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            return None
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        return _await_end(child, arrived)
    finally:
        signal.set_wakeup_fd(before)
        os.close(arrived)
        os.close(writing)
        if child == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _handle(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: Python writes the signal's number to the pipe."""


def _await_end(child: int, arrived: int) -> int:
    while True:
        for number in os.read(arrived, 64):
            if number in _FORWARDED:
                os.kill(child, number)
        status = _reap(child)
        if status is not None:
            return status if status >= 0 else 128 - status


def _reap(child: int) -> int | None:
    """Reap all ended children, and return the exit status of `child` if it has ended."""
    status = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if ended[0] == child:
                status = os.waitstatus_to_exitcode(ended[1])
    return status
