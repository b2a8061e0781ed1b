"""Shared code of the guard and the keeper, the programs that run as long as the VM.

Both are light programs of :mod:`vmnet.program`. They import no other module of vmnet, and as little
as possible of the standard library, because every import stays in memory (bench/memory). Rarely
needed modules are imported when they are used.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False  # mypy accepts this too; the typing module would stay in memory
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPWR: the signals that stop the VM.
STOP_SIGNALS = (1, 2, 3, 15, 30)
# SIGRTMAX, which no other program sends: tests the alarm, see vmnet.supervision.alarm.
ALARM_SIGNAL = 64


def spawn(
    argv: Sequence[str],
    streams: Iterable[int] = (1,),
    *,
    masked: Iterable[int] = (),
    kept: Iterable[int] = (),
    session: bool = False,
) -> int:
    """Start a program and return its PID.

    :param streams: descriptors of the program that become copies of our standard error
    :param masked: signals that are blocked in the program
    :param kept: descriptors that it inherits under the same numbers
    :param session: whether it leads a new session
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


def set_uninheritable(fds: Iterable[int]) -> None:
    """Make descriptors close in the programs that we start."""
    for fd in fds:
        os.set_inheritable(fd, False)


def signal_name(number: int) -> str:
    import signal  # imports enum and its dependencies

    return signal.Signals(number).name


def set_process_name(name: str) -> None:
    """Set the name that `docker top` and ps(1) show for this process instead of ``python3``."""
    try:
        with open("/proc/self/comm", "w") as file:  # noqa: PTH123
            file.write(name)
    except OSError:  # /proc may be read-only, and only the display depends on the name
        return


def write_pid(pidfile: str, pid: int, log: Log) -> None:
    """Write a PID file. A failure, such as a full disk, is only logged."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        fd = os.open(pidfile, flags, 0o644)
        try:
            os.write(fd, b"%d\n" % pid)
        finally:
            os.close(fd)
    except OSError as error:
        log.error(f"can't write {pidfile}: {error.strerror}")


def read_pid(pidfile: str) -> int | None:
    """Return the PID in a PID file, or None if there is none."""
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
    """Writes to the container's log, in the format of :mod:`vmnet.log`.

    If nothing reads the log, a line that would block is dropped, so that the guard can still press
    the power button.

    :param form: text or json
    :param name: the process that each line names
    """

    def __init__(self, form: str, name: str) -> None:
        self._form, self._name = form, name

    def info(self, text: str) -> None:
        self._write("info", text)

    def warning(self, text: str) -> None:
        self._write("warning", text)

    def error(self, text: str, hint: str = "") -> None:
        self._write("error", text, hint)

    def _write(self, level: str, text: str, hint: str = "") -> None:
        text = f"{self._name}: {text}"
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
