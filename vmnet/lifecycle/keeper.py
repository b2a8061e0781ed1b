"""The keeper: see that what serves the machine lives, and start it again when it has ended.

It watches the guard and the daemons of the deliveries by their pidfds. It also runs a program when
something changes: a followed file, a network device (:mod:`vmnet.lifecycle.watches`). The guard
watches the keeper in turn. When the machine ends, the keeper ends what serves it.

To start dnsmasq again takes privileges, so the keeper has those that daemons need, and takes no
input: of a descriptor it learns that it is readable, and forgets what it reads there.

Each thing that it looks after is a generator (:data:`Task`), which yields what it waits for: a
descriptor (-1: none) and seconds (None: for ever). It is sent whether the descriptor is readable,
and is closed when the machine ends.
"""

from __future__ import annotations

import os
import select
import sys
import time
from itertools import chain, repeat

from . import beside
from .beside import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from typing import TypeVar

    Result = TypeVar("Result")
    Wait = tuple[int, float | None]
    Task = Generator[Wait, bool, Result]
    Order = tuple[object, ...]

# What ends again and again is started after longer and longer pauses, and then no more.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
WELL_SECONDS = 60.0  # what has lived for so long begins with the first pause again
ERRAND_SECONDS = 10.0
SETTLE_SECONDS = 0.3  # a file is changed in several steps
REST_SECONDS = 1.0
_FAREWELL_SECONDS = 5.0
_READ_BYTES, _MOST_READS = 1 << 16, 64
_SIGTERM, _SIGKILL = 15, 9
_CONTAINERS_LOG = 3  # what else starts a daemon has its standard error there: vmnet.process.run
_STAYS_DOWN = "it stays down, and the VM without it, until the container is restarted"


class FailedError(Exception):
    """Something could not be started; it says why."""


def errand(argv: Sequence[str], seconds: float = ERRAND_SECONDS) -> Task[None]:
    """Run a program that ends by itself, or goes into the background, and is killed if it doesn't.

    :raises FailedError: it could not, or ended with another status than 0
    """
    try:
        pid = beside.spawn(argv, (1, _CONTAINERS_LOG), session=True)
    except OSError as error:
        raise FailedError(f"can't be started: {error}") from None
    end = os.pidfd_open(pid)
    try:
        if not (yield end, seconds):
            raise FailedError(f"did not finish in {seconds:g} s")
    finally:
        if not beside.has_ended(end):
            os.killpg(pid, _SIGKILL)
            beside.await_end(end, _FAREWELL_SECONDS)
        os.close(end)
        status = beside.status_of(pid)
    if status:
        raise FailedError(f"failed ({beside.how(status)})")


def watching(log: Log, fd: int, argv: Sequence[str]) -> Task[None]:
    """Run a program whenever a descriptor is readable: never two at a time, and with a rest."""
    os.set_blocking(fd, False)
    while True:
        yield fd, None
        yield -1, SETTLE_SECONDS
        _drain(fd)
        try:
            yield from errand(argv)
        except FailedError as failure:
            log.error(str(failure))
        yield -1, REST_SECONDS


def _drain(fd: int) -> None:
    try:
        for _ in range(_MOST_READS):
            os.read(fd, _READ_BYTES)
    except OSError:  # empty; or netlink has lost some
        return


def keeping(
    log: Log,
    pidfile: str,
    start: Callable[[], Task[int]],
    part: Callable[[int, int], None],
    pauses: Callable[[], Iterator[float]],
) -> Task[None]:
    """Have a process live: the one on record, or else one that is started now.

    :param start: start one; answers its PID, raises FailedError
    :param part: is given PID and pidfd of one that still lives when the machine has ended
    :param pauses: before each attempt to start it again, in seconds
    """
    left = pauses()
    pid = beside.on_record(pidfile)
    while True:
        try:
            pid = pid or (yield from start())
            seconds = yield from _life(pid, part)
            failure = f"ended before the machine ({beside.how(beside.status_of(pid))})"
            remedy = "another takes its place"
            if seconds >= WELL_SECONDS:
                left = pauses()
        except FailedError as failed:
            failure, remedy = str(failed), "another attempt follows"
        pid = None
        beside.remove(pidfile)
        pause = next(left, None)
        if pause is None:
            log.error(f"{failure}, again and again", _STAYS_DOWN)
            return
        log.error(f"{failure}: {remedy}")
        yield -1, pause


def _life(pid: int, part: Callable[[int, int], None]) -> Task[float]:
    """Wait for the end of a process; how long that took."""
    since = time.monotonic()
    try:
        end = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0.0
    try:
        yield end, None
    except GeneratorExit:
        part(pid, end)
        raise
    finally:
        os.close(end)
    return time.monotonic() - since


def daemon(log: Log, pidfile: str, argv: Sequence[str], pauses: Sequence[float]) -> Task[None]:
    """Keep a program that puts itself into the background."""

    def start() -> Task[int]:
        yield from errand(argv)
        pid = beside.on_record(pidfile)
        if pid is None:
            raise FailedError(f"can't be found: {pidfile} does not tell its process")
        return pid

    return keeping(log, pidfile, start, _terminate, lambda: iter(pauses))


def guard(log: Log, pidfile: str, argv: Sequence[str], fds: Sequence[int]) -> Task[None]:
    """Keep the guard, for ever.

    :param fds: what it inherits, and a keeper that it starts
    """
    # Should we end, it starts us again.
    argv = (*argv, str(os.getpid()), *sys.orig_argv)

    def start() -> Task[int]:
        try:
            pid = beside.spawn(argv, masked=(*beside.STOP_SIGNALS, beside.BELL), kept=fds)
        except OSError as error:
            raise FailedError(f"can't be started: {error}") from None
        beside.put_on_record(pidfile, pid, log)
        return pid
        yield  # a generator, as start() is for daemons

    return keeping(log, pidfile, start, _await, lambda: chain(PAUSES, repeat(PAUSES[-1])))


def _terminate(pid: int, _end: int) -> None:
    try:
        os.kill(pid, _SIGTERM)
    except OSError:  # it ends just now; or we are a keeper without privileges
        return


def _await(_pid: int, end: int) -> None:
    """The guard ends by itself, when it has said why the machine did."""
    beside.await_end(end, _FAREWELL_SECONDS)


def keep(machine: int, tasks: Iterable[Task[None]]) -> None:
    """Serve tasks until the machine ends.

    :param machine: its pidfd
    """
    waiting: dict[Task[None], Wait] = {}
    for task in tasks:
        _proceed(waiting, task, None)
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
                _proceed(waiting, task, fd in readable)
    for task in waiting:
        task.close()


def _proceed(waiting: dict[Task[None], Wait], task: Task[None], readable: bool | None) -> None:
    try:
        fd, seconds = next(task) if readable is None else task.send(readable)
    except StopIteration:
        waiting.pop(task, None)
    else:
        waiting[task] = (fd, None if seconds is None else time.monotonic() + seconds)


def command(pid: int, form: str, pidfile: object, *orders: Order) -> tuple[str, ...]:
    """The words that run a keeper.

    :param pid: of the hypervisor
    :param form: of the log: text or json
    :param pidfile: where the keeper writes its own PID
    """
    words = (word for order in orders for word in (len(order), *order))
    return beside.command("keeper", pid, form, pidfile, *words)


def keep_daemon(name: str, pidfile: object, argv: Iterable[str]) -> Order:
    """The order to keep a daemon."""
    return ("daemon", name.removeprefix("the "), pidfile, *argv)


def watch(name: str, fd: int, argv: Iterable[str]) -> Order:
    """The order to run a program whenever a descriptor is readable."""
    return ("watch", name, fd, *argv)


def keep_guard(pidfile: object, fds: Iterable[int], argv: Iterable[str]) -> Order:
    """The order to keep the guard.

    :param fds: what it inherits, and a keeper that it starts
    """
    return ("guard", pidfile, ",".join(map(str, fds)), *argv)


def main(machine: str, form: str, pidfile: str, *words: str) -> None:
    """Look after a machine until it ends; the words are :func:`command`'s."""
    beside.be_called("vmnet-keeper")
    beside.put_on_record(pidfile, os.getpid(), Log(form, "keeper"))
    try:
        end = os.pidfd_open(int(machine))
    except ProcessLookupError:  # it has ended already
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
            beside.set_alone([int(fd)])
            return watching(Log(form, name), int(fd), argv)
        case "guard", (pidfile, fds, *argv):
            given = [int(fd) for fd in fds.split(",") if fd]
            beside.set_alone(given)
            return guard(Log(form, "guard"), pidfile, argv, given)
    raise ValueError(kind)
