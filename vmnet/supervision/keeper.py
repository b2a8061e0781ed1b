"""The keeper: restart the VM's helpers when they end.

It watches the guard and the daemons of the deliveries through pidfds. It also runs a program when a
followed file or a network device changes (:mod:`vmnet.supervision.watches`). The guard watches the
keeper in turn. When the hypervisor ends, the keeper ends the daemons.

Restarting dnsmasq takes privileges. So the keeper has the privileges that daemons need, and parses
no input: it discards the data of a descriptor that becomes readable.

The keeper runs a generator (:data:`Task`) for each helper and watch. The generator yields a
descriptor (-1: none) and a timeout in seconds (None: no timeout). The keeper sends it whether the
descriptor is readable, and closes it when the hypervisor ends.
"""

from __future__ import annotations

import os
import select
import sys
import time
from itertools import chain, repeat

from . import processes
from .processes import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from typing import TypeVar

    Result = TypeVar("Result")
    Wait = tuple[int, float | None]
    Task = Generator[Wait, bool, Result]
    Order = tuple[object, ...]

# Before each restart of a daemon, in seconds. After the last one it is not restarted.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
STABLE_SECONDS = 60.0  # after this time the pauses begin with the first one again
RUN_SECONDS = 10.0
SETTLE_SECONDS = 0.3  # a file changes in several steps
REST_SECONDS = 1.0
_END_SECONDS = 5.0
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
        pid = processes.spawn(argv, (1, _LOG_FD), session=True)
    except OSError as error:
        raise FailedError(f"can't be started: {error}") from None
    end = os.pidfd_open(pid)
    try:
        if not (yield end, seconds):
            raise FailedError(f"did not finish in {seconds:g} s")
    finally:
        if not processes.has_ended(end):
            os.killpg(pid, _SIGKILL)
            processes.await_end(end, _END_SECONDS)
        os.close(end)
        status = processes.exit_status(pid)
    if status:
        raise FailedError(f"failed ({processes.describe(status)})")


def run_on_change(log: Log, fd: int, argv: Sequence[str]) -> Task[None]:
    """Run a program when a descriptor becomes readable, with a pause after each run."""
    os.set_blocking(fd, False)
    while True:
        yield fd, None
        yield -1, SETTLE_SECONDS
        _drain(fd)
        try:
            yield from run(argv)
        except FailedError as failure:
            log.error(str(failure))
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
    pid = processes.read_pid(pidfile)
    while True:
        try:
            pid = pid or (yield from start())
            seconds = yield from _await_end(pid, finish)
            failure = f"ended before the VM ({processes.describe(processes.exit_status(pid))})"
            action = "starting it again"
            if seconds >= STABLE_SECONDS:
                remaining = pauses()
        except FailedError as failed:
            failure, action = str(failed), "trying again"
        pid = None
        processes.remove(pidfile)
        pause = next(remaining, None)
        if pause is None:
            log.error(f"{failure}: giving up", _STAYS_DOWN)
            return
        log.error(f"{failure}: {action}")
        yield -1, pause


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
        yield from run(argv)
        pid = processes.read_pid(pidfile)
        if pid is None:
            raise FailedError(f"was started, but wrote no PID to {pidfile}")
        return pid

    return keep_alive(log, pidfile, start, _terminate, lambda: iter(pauses))


def guard(log: Log, pidfile: str, argv: Sequence[str], fds: Sequence[int]) -> Task[None]:
    """Keep the guard alive, without a limit on restarts.

    :param fds: the descriptors that it inherits, and that a keeper inherits from it
    """
    # The guard restarts this keeper by its PID and command line.
    argv = (*argv, str(os.getpid()), *sys.orig_argv)

    def start() -> Task[int]:
        try:
            pid = processes.spawn(
                argv, masked=(*processes.STOP_SIGNALS, processes.ALARM_SIGNAL), kept=fds
            )
        except OSError as error:
            raise FailedError(f"can't be started: {error}") from None
        processes.write_pid(pidfile, pid, log)
        return pid
        yield  # makes this a generator, like start() of a daemon

    return keep_alive(log, pidfile, start, _await_guard, lambda: chain(PAUSES, repeat(PAUSES[-1])))


def _terminate(pid: int, _end: int) -> None:
    try:
        os.kill(pid, _SIGTERM)
    except OSError:  # it has just ended, or this keeper has no privileges
        return


def _await_guard(_pid: int, end: int) -> None:
    """Wait for the guard, which ends after it has logged why the hypervisor ended."""
    processes.await_end(end, _END_SECONDS)


def keep(machine: int, tasks: Iterable[Task[None]]) -> None:
    """Run tasks until the hypervisor ends.

    :param machine: the hypervisor's pidfd
    """
    waiting: dict[Task[None], Wait] = {}
    for task in tasks:
        _resume(waiting, task, None)
    while True:
        poll = select.poll()
        poll.register(machine, select.POLLIN)
        for fd, _ in waiting.values():
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        first = min((until for _, until in waiting.values() if until is not None), default=None)
        left = None if first is None else max(first - time.monotonic(), 0) * 1000 + 1
        readable = dict(poll.poll(left))
        if machine in readable:
            break
        now = time.monotonic()
        for task, (fd, until) in list(waiting.items()):
            if fd in readable or (until is not None and now >= until):
                _resume(waiting, task, fd in readable)
    for task in waiting:
        task.close()


def _resume(waiting: dict[Task[None], Wait], task: Task[None], readable: bool | None) -> None:
    try:
        fd, seconds = next(task) if readable is None else task.send(readable)
    except StopIteration:
        waiting.pop(task, None)
    else:
        waiting[task] = (fd, None if seconds is None else time.monotonic() + seconds)


def arguments(pid: int, form: str, pidfile: object, *orders: Order) -> tuple[object, ...]:
    """Return the arguments of :func:`main`.

    :param pid: of the hypervisor
    :param form: of the log: text or json
    :param pidfile: the file to which the keeper writes its own PID
    """
    words = (word for order in orders for word in (len(order), *order))
    return (pid, form, pidfile, *words)


def keep_daemon(name: str, pidfile: object, argv: Iterable[str]) -> Order:
    """Return the order to keep a daemon alive."""
    return ("daemon", name.removeprefix("the "), pidfile, *argv)


def watch(name: str, fd: int, argv: Iterable[str]) -> Order:
    """Return the order to run a program when a descriptor becomes readable."""
    return ("watch", name, fd, *argv)


def keep_guard(pidfile: object, fds: Iterable[int], argv: Iterable[str]) -> Order:
    """Return the order to keep the guard alive.

    :param fds: the descriptors that it inherits, and that a keeper inherits from it
    """
    return ("guard", pidfile, ",".join(map(str, fds)), *argv)


def main(machine: str, form: str, pidfile: str, *words: str) -> None:
    """Keep a VM's helpers alive until the hypervisor ends; see :func:`arguments`."""
    processes.set_process_name("vmnet-keeper")
    processes.write_pid(pidfile, os.getpid(), Log(form, "keeper"))
    try:
        end = os.pidfd_open(int(machine))
    except ProcessLookupError:  # the hypervisor has ended already
        return
    keep(end, [_task(form, *order) for order in _orders(iter(words))])


def _orders(words: Iterator[str]) -> Iterator[list[str]]:
    for count in words:
        yield [next(words) for _ in range(int(count))]


def _task(form: str, kind: str, *words: str) -> Task[None]:
    match kind, words:
        case "daemon", (name, pidfile, *argv):
            return daemon(Log(form, name), pidfile, argv, PAUSES)
        case "watch", (name, fd, *argv):
            processes.set_uninheritable([int(fd)])
            return run_on_change(Log(form, name), int(fd), argv)
        case "guard", (pidfile, fds, *argv):
            inherited = [int(fd) for fd in fds.split(",") if fd]
            processes.set_uninheritable(inherited)
            return guard(Log(form, "guard"), pidfile, argv, inherited)
    raise ValueError(kind)
