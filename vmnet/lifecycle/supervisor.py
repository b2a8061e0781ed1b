"""Stay above the machine, where something has to be done after its end.

What another system has allocated must be released whatever ended the machine: its guest, a crash of
the hypervisor, the kernel out of memory. When PID 1 ends the kernel kills everything beside it, so
here PID 1 is this process and the hypervisor its child. A start that allocates nothing has none of
this: there the hypervisor is PID 1 itself.
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


_WAITED = (signal.SIGCHLD, *_FORWARDED)


def fork() -> int | None:
    """Go on as a child, at once; await its end, forward signals to it, and reap orphans.

    :return: None in the child. Here its exit status, 128 and the number for a signal; the signals
        it was forwarded stay without effect, so that they don't disturb what is done after it
    """
    # Not by sigwait(3): a thread that a plugin has left does not block the signals, and would be
    # given them in our place. A handler runs there as well as here, and writes to the pipe.
    arrived, writing = os.pipe()
    os.set_blocking(writing, False)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    handlers = {one: signal.signal(one, _note) for one in _WAITED}
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    child = os.fork()
    try:
        if child == 0:
            for one, handler in handlers.items():
                signal.signal(one, handler)
            return None
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED)
        return _await_end(child, arrived)
    finally:
        signal.set_wakeup_fd(before)
        os.close(arrived)
        os.close(writing)
        if child == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _note(_number: int, _frame: FrameType | None) -> None:
    """Python writes the number to the pipe."""


def _await_end(child: int, arrived: int) -> int:
    while True:
        for number in os.read(arrived, 64):
            if number in _FORWARDED:
                os.kill(child, number)
        status = _reap(child)
        if status is not None:
            return status if status >= 0 else 128 - status


def _reap(child: int) -> int | None:
    """Wait for all that have ended; the exit status of the child if it is among them."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if ended[0] == child:
                found = os.waitstatus_to_exitcode(ended[1])
    return found
