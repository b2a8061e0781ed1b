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

_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTERM,
    signal.SIGPWR,
)


def fork() -> int | None:
    """Go on as a child, at once; await its end, forward signals to it, and reap orphans.

    :return: None in the child. Here its exit status, 128 and the number for a signal; the signals
        it was forwarded stay blocked, so that they don't disturb what is done after it
    """
    waited = (signal.SIGCHLD, *_FORWARDED)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return None
    while True:
        number = signal.sigwait(waited)
        if number == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                return status if status >= 0 else 128 - status
        else:
            os.kill(child, number)


def _reap(child: int) -> int | None:
    """Wait for all that have ended; the exit status of the child if it is among them."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if ended[0] == child:
                found = os.waitstatus_to_exitcode(ended[1])
    return found
