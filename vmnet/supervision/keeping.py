"""The keeper's tasks: one generator (``Task``) for each helper and watch.

The generator yields a descriptor (-1: none) and a timeout in seconds (None: no timeout). The keeper
sends it whether the descriptor is readable, and closes it when the hypervisor ends.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import chain, repeat

from . import ends, pidfiles, spawning
from .signals import ALARM_SIGNAL, STOP_SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from typing import TypeVar

    from .log import Log

    Result = TypeVar("Result")
    Wait = tuple[int, float | None]
    Task = Generator[Wait, bool, Result]

# Before each restart of a daemon, in seconds. After the last one it is not restarted.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
STABLE_SECONDS = 60.0  # after this time the pauses begin with the first one again
RUN_SECONDS = 10.0
SETTLE_SECONDS = 0.3  # a file changes in several steps
REST_SECONDS = 1.0
_END_SECONDS = 5.0
_LAST_SECONDS = 0.5  # for the hypervisor to end
_READ_BYTES, _MAX_READS = 1 << 16, 64
_SIGTERM, _SIGKILL = 15, 9
_LOG_FD = 3  # daemons expect the container's log here, see vmnet.process.run
_STAYS_DOWN = "it stays down, and the VM without it, until the container is restarted"


class FailedError(Exception):
    """A program could not be started, or failed; the message gives the reason."""


def run(argv: Sequence[str], seconds: float = RUN_SECONDS) -> Task[None]:
    """Run a program that ends or goes into the background, and kill it after a time limit.

    :raises FailedError: it could not be started, was killed or failed
    """
    try:
        pid = spawning.spawn(argv, (1, _LOG_FD), session=True)
    except OSError as error:
        raise FailedError(f"can't be started: {error}") from None
    end = os.pidfd_open(pid)
    try:
        if not (yield end, seconds):
            raise FailedError(f"did not finish in {seconds:g} s")
    finally:
        if not ends.has_ended(end):
            os.killpg(pid, _SIGKILL)
            ends.await_end(end, _END_SECONDS)
        os.close(end)
        status = ends.exit_status(pid)
    if status:
        raise FailedError(f"failed ({ends.describe(status)})")


def run_on_change(
    log: Log, fd: int, argv: Sequence[str], seconds: float = RUN_SECONDS
) -> Task[None]:
    """Run a program when a descriptor becomes readable, with a pause after each run.

    :param seconds: after which the program is killed
    """
    os.set_blocking(fd, False)
    while True:
        yield fd, None
        yield -1, SETTLE_SECONDS
        _drain(fd)
        try:
            yield from run(argv, seconds)
        except FailedError as failure:
            log.error(str(failure), event="watch.failed")
        yield -1, REST_SECONDS


def _drain(fd: int) -> None:
    try:
        for _ in range(_MAX_READS):
            os.read(fd, _READ_BYTES)
    except OSError:  # nothing is left to read, or netlink has lost messages
        return


def keep_alive(
    log: Log,
    pidfile: str,
    start: Callable[[], Task[int]],
    finish: Callable[[int, int], None],
    pauses: Callable[[], Iterator[float]],
) -> Task[None]:
    """Restart a process when it ends. The PID file may name one that runs already.

    :param start: starts the process and returns its PID; raises FailedError
    :param finish: called with PID and pidfd of a process that outlives the hypervisor
    :param pauses: the seconds before each restart
    """
    remaining = pauses()
    pid = pidfiles.read(pidfile)
    while True:
        try:
            pid = pid or (yield from start())
            seconds = yield from _await_end(pid, finish)
            if pidfiles.take_request(pidfile):
                pid = None
                pidfiles.remove(pidfile)
                continue
            failure = f"ended before the VM ({ends.describe(ends.exit_status(pid))})"
            action = "starting it again"
            if seconds >= STABLE_SECONDS:
                remaining = pauses()
        except FailedError as failed:
            failure, action = str(failed), "trying again"
        pid = None
        pidfiles.remove(pidfile)
        pause = next(remaining, None)
        # A daemon that serves only the hypervisor, such as swtpm, ends just before it.
        yield -1, _LAST_SECONDS
        if pause is None:
            log.error(f"{failure}: giving up", _STAYS_DOWN, event="helper.given_up")
            return
        log.error(f"{failure}: {action}", event="helper.restarting")
        pidfiles.count_restart(pidfile, log)
        yield -1, max(pause - _LAST_SECONDS, 0)


def _await_end(pid: int, finish: Callable[[int, int], None]) -> Task[float]:
    """Wait for the end of a process, and return how many seconds that took."""
    since = time.monotonic()
    try:
        end = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0.0
    try:
        yield end, None
    except GeneratorExit:
        finish(pid, end)
        raise
    finally:
        os.close(end)
    return time.monotonic() - since


def daemon(log: Log, pidfile: str, argv: Sequence[str], pauses: Sequence[float]) -> Task[None]:
    """Keep a daemon alive that goes into the background."""

    def start() -> Task[int]:
        try:
            yield from run(argv)
        except GeneratorExit:  # the hypervisor has ended, and the daemon may be in the background
            end_daemon(pidfile)
            raise
        pid = pidfiles.read(pidfile)
        if pid is None:
            raise FailedError(f"was started, but wrote no PID to {pidfile}")
        return pid

    return keep_alive(log, pidfile, start, _terminate, lambda: iter(pauses))


def end_daemon(pidfile: str) -> None:
    """End a daemon that has outlived the hypervisor; it may have ended already."""
    if (pid := pidfiles.read(pidfile)) is not None:
        _terminate(pid)


def guard(log: Log, pidfile: str, argv: Sequence[str], fds: Sequence[int]) -> Task[None]:
    """Keep the guard alive, without a limit on restarts.

    :param fds: the descriptors that it inherits, and that a keeper inherits from it
    """
    # The guard restarts this keeper by its PID and command line.
    argv = (*argv, str(os.getpid()), *sys.orig_argv)

    def start() -> Task[int]:
        try:
            pid = spawning.spawn(argv, masked=(*STOP_SIGNALS, ALARM_SIGNAL), kept=fds)
        except OSError as error:
            raise FailedError(f"can't be started: {error}") from None
        pidfiles.write(pidfile, pid, log)
        return pid
        yield  # makes this a generator, like start() of a daemon

    return keep_alive(log, pidfile, start, _await_guard, lambda: chain(PAUSES, repeat(PAUSES[-1])))


def _terminate(pid: int, _end: int = -1) -> None:
    try:
        os.kill(pid, _SIGTERM)
    except OSError:  # it has just ended, or this keeper has no privileges
        return


def _await_guard(_pid: int, end: int) -> None:
    """Wait for the guard, which ends after it has logged why the hypervisor ended."""
    ends.await_end(end, _END_SECONDS)
