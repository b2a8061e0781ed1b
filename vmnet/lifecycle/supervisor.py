"""Stay PID 1 as the parent of the hypervisor, to clean up when it has ended.

Allocations must be released, and a shared network restored, whether the guest powered off, the
hypervisor crashed or the kernel ran out of memory. When PID 1 ends, the kernel kills all other
processes of the container. So the hypervisor can't be PID 1 then. Other starts need no supervisor.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from contextlib import suppress
from types import FrameType

from vmnet.supervision.signals import STOP_SIGNALS

_log = logging.getLogger(__name__)
# A start ends sooner after a stop signal. Docker kills the container after 10 seconds, and the
# supervisor needs some of them to release allocations.
START_SECONDS = 5.0
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

    A plugin may swallow the exception by which a stop signal ends a start. So the parent kills a
    child that still runs some seconds after a stop signal and has not executed the hypervisor.

    :return: None in the child. In the parent the child's exit status, or 128 plus a signal's
        number. The parent keeps ignoring the forwarded signals, so that they don't interrupt it.
    """
    # sigwait(3) can't be used: the kernel may deliver the signals to a plugin's thread that does
    # not block them. A handler runs for any thread, and Python then writes to the pipe.
    arrived, writing = os.pipe()
    executed, unexecuted = os.pipe()  # both close on exec
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
        os.close(unexecuted)
        return _await_end(child, arrived, executed)
    finally:
        signal.set_wakeup_fd(before)
        os.close(arrived)
        os.close(writing)
        os.close(executed)
        if child == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _handle(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: Python writes the signal's number to the pipe."""


def _await_end(child: int, arrived: int, executed: int) -> int:
    kill_at: float | None = None
    while True:
        left = None if kill_at is None else kill_at - time.monotonic()
        if left is not None and left <= 0:
            kill_at = left = None
            if not _has_executed(child, executed):
                _log.error(
                    "the start ignores the stop signal, and is killed",
                    extra={"event": "start.killed"},
                )
                os.kill(child, signal.SIGKILL)
        if not select.select([arrived], [], [], left)[0]:
            continue
        for number in os.read(arrived, 64):
            if number in _FORWARDED:
                os.kill(child, number)
            if number in STOP_SIGNALS:
                kill_at = kill_at or time.monotonic() + START_SECONDS
        status = _reap(child)
        if status is not None:
            return status if status >= 0 else 128 - status


def _has_executed(child: int, executed: int) -> bool:
    """Return whether the child has executed another program.

    A process that a plugin has forked may keep the pipe open, so another program file counts, too.
    """
    if select.select([executed], [], [], 0)[0]:
        return True
    with suppress(OSError):
        return os.readlink(f"/proc/{child}/exe") != os.readlink("/proc/self/exe")  # noqa: PTH115
    return False


def _reap(child: int) -> int | None:
    """Reap all ended children, and return the exit status of `child` if it has ended."""
    status = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if ended[0] == child:
                status = os.waitstatus_to_exitcode(ended[1])
    return status
