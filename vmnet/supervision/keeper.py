"""The keeper: restart the VM's helpers when they end.

It watches the guard and the daemons of the deliveries through pidfds. It also runs a program when a
followed file or a network device changes (:mod:`vmnet.supervision.watches`). The guard watches the
keeper in turn. When the hypervisor ends, the keeper ends the daemons.

Restarting dnsmasq takes privileges. So the keeper has the privileges that daemons need, and parses
no input: it discards the data of a descriptor that becomes readable.
"""

from __future__ import annotations

import os
import select
import time

from . import keeping, pidfiles, process_name, spawning
from .log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .keeping import Task, Wait

    Order = tuple[object, ...]


def keep(hypervisor: int, tasks: Iterable[Task[None]]) -> None:
    """Run tasks until the hypervisor ends.

    :param hypervisor: the hypervisor's pidfd
    """
    waiting: dict[Task[None], Wait] = {}
    for task in tasks:
        _resume(waiting, task, None)
    while True:
        poll = select.poll()
        poll.register(hypervisor, select.POLLIN)
        for fd, _ in waiting.values():
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        first = min((until for _, until in waiting.values() if until is not None), default=None)
        left = None if first is None else max(first - time.monotonic(), 0) * 1000 + 1
        readable = dict(poll.poll(left))
        if hypervisor in readable:
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


def watch(name: str, fd: int, argv: Iterable[str], seconds: int) -> Order:
    """Return the order to run a program when a descriptor becomes readable.

    :param seconds: after which the program is killed
    """
    return ("watch", name, fd, seconds, *argv)


def keep_guard(pidfile: object, fds: Iterable[int], argv: Iterable[str]) -> Order:
    """Return the order to keep the guard alive.

    :param fds: the descriptors that it inherits, and that a keeper inherits from it
    """
    return ("guard", pidfile, ",".join(map(str, fds)), *argv)


def main(hypervisor: str, form: str, pidfile: str, *words: str) -> None:
    """Keep a VM's helpers alive until the hypervisor ends; see :func:`arguments`."""
    process_name.set_own("vmnet-keeper")
    log = Log(form, "keeper")
    if pidfiles.read(pidfile) is not None:  # of the keeper that this process replaces
        pidfiles.count_restart(pidfile, log)
    pidfiles.write(pidfile, os.getpid(), log)
    try:
        end = os.pidfd_open(int(hypervisor))
    except ProcessLookupError:  # the hypervisor has ended already, as with a wrong argument
        for kind, *order in _orders(iter(words)):
            if kind == "daemon":
                keeping.end_daemon(order[1])
        return
    keep(end, [_task(form, *order) for order in _orders(iter(words))])


def _orders(words: Iterator[str]) -> Iterator[list[str]]:
    for count in words:
        yield [next(words) for _ in range(int(count))]


def _task(form: str, kind: str, *words: str) -> Task[None]:
    match kind, words:
        case "daemon", (name, pidfile, *argv):
            return keeping.daemon(Log(form, name), pidfile, argv, keeping.PAUSES)
        case "watch", (name, fd, seconds, *argv):
            spawning.set_uninheritable([int(fd)])
            return keeping.run_on_change(Log(form, name), int(fd), argv, int(seconds))
        case "guard", (pidfile, fds, *argv):
            inherited = [int(fd) for fd in fds.split(",") if fd]
            spawning.set_uninheritable(inherited)
            return keeping.guard(Log(form, "guard"), pidfile, argv, inherited)
    raise ValueError(kind)
