"""What the programs share that run beside the machine for as long as it does: guard and keeper.

They are programs of their own (:func:`command`) that import nothing of vmnet and of the standard
library as little as possible, since it stays in memory: see bench/memory. What they need now and
then is imported then.
"""

from __future__ import annotations

import os
import select
import sys
import time

TYPE_CHECKING = False  # as mypy knows it; the typing module would stay in memory
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPWR: the signals that ask a machine to stop.
STOP_SIGNALS = (1, 2, 3, 15, 30)
# SIGRTMAX, which nobody else sends: proves that the alarm works, see vmnet.lifecycle.alarm.
BELL = 64

# Imported and not run as a script: what it takes to compile one stays in memory.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from lifecycle import {0}; {0}.main(*sys.argv[2:])"
)


def command(program: str, *words: object) -> tuple[str, ...]:
    """The words that run one of this folder's modules as a program, its `main` with `words`."""
    folder = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    options = ("-I", "-S", "-B", "-c", _PROGRAM.format(program))
    return (sys.executable, *options, folder, *map(str, words))


def spawn(
    argv: Sequence[str],
    streams: Iterable[int] = (1,),
    *,
    masked: Iterable[int] = (),
    kept: Iterable[int] = (),
    session: bool = False,
) -> int:
    """Start a program; answer its PID.

    :param streams: descriptors that are to be our standard error, in addition to its own
    :param masked: the signals that it is to have blocked
    :param kept: the descriptors that it inherits, under their numbers
    :param session: whether it leads one of its own
    :raises OSError: it can't be executed
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        *((os.POSIX_SPAWN_DUP2, 2, number) for number in streams),
        *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in kept),
    ]
    words = list(argv)
    return os.posix_spawn(
        words[0], words, os.environ, file_actions=actions, setsigmask=masked, setsid=session
    )


def await_end(pidfd: int, seconds: float) -> bool:
    """Wait for the end of a process; whether it has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def has_ended(pidfd: int) -> bool:
    return await_end(pidfd, 0)


def status_of(pid: int) -> int | None:
    """How a child has ended: its exit status, negative for a signal; None if it is none of ours."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, os.WNOHANG)[1])
    except ChildProcessError:
        return None


def how(status: int | None) -> str:
    """An exit status for a sentence."""
    if status is None:
        return "it is not known how"
    return signal_name(-status) if status < 0 else f"status {status}"


def set_alone(fds: Iterable[int]) -> None:
    """Keep descriptors from the programs that we start."""
    for fd in fds:
        os.set_inheritable(fd, False)


def signal_name(number: int) -> str:
    import signal  # with enum and all that enum needs

    return signal.Signals(number).name


def be_called(name: str) -> None:
    """Have `docker top` and ps(1) show a name where they would show ``python3``."""
    try:
        with open("/proc/self/comm", "w") as file:  # noqa: PTH123
            file.write(name)
    except OSError:  # a /proc that is read-only: the process works under any name
        return


def put_on_record(pidfile: str, pid: int, log: Log) -> None:
    """Write a PID; a disk that is full must not end the process that it is about."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        fd = os.open(pidfile, flags, 0o644)
        try:
            os.write(fd, b"%d\n" % pid)
        finally:
            os.close(fd)
    except OSError as error:
        log.error(f"can't write {pidfile}: {error.strerror}")


def on_record(pidfile: str) -> int | None:
    """The PID that a file tells; None if it tells none."""
    try:
        with open(pidfile, "rb") as file:  # noqa: PTH123
            return int(file.read(32))
    except (OSError, ValueError):
        return None


def remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except OSError:
        return


class Log:
    """The container's log, in the form of :mod:`vmnet.log`.

    A log that nobody takes any more must not keep the button from being pressed: a line that would
    have us wait is lost.

    :param form: text or json
    :param who: who speaks
    """

    def __init__(self, form: str, who: str) -> None:
        self._form, self._who = form, who

    def info(self, text: str) -> None:
        self._say("info", f"{self._who}: {text}")

    def warning(self, text: str) -> None:
        self._say("warning", f"{self._who}: {text}")

    def error(self, text: str, hint: str = "") -> None:
        self._say("error", f"{self._who}: {text}", hint)

    def _say(self, level: str, text: str, hint: str = "") -> None:
        if self._form == "json":
            import json

            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            entry = {"time": now, "level": level, "message": text}
            lines = json.dumps(entry | ({"hint": hint} if hint else {}))
        else:
            mark = "" if level == "info" else f"{level}: "
            lines = f"vmnet: {mark}{text}" + (f"\nvmnet: hint: {hint}" if hint else "")
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        try:
            if poll.poll(0):
                os.write(2, f"{lines}\n".encode())
        except OSError:
            return
