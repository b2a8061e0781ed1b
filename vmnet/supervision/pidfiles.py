"""PID files, and files next to them that count restarts."""

from __future__ import annotations

import os

_REQUEST, _RESTARTS = ".restart", ".restarts"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log


def write(pidfile: str, pid: int, log: Log) -> None:
    """Write a PID file. A failure, such as a full disk, is only logged."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        fd = os.open(pidfile, flags, 0o644)
        try:
            os.write(fd, b"%d\n" % pid)
        finally:
            os.close(fd)
    except OSError as error:
        log.error(f"can't write {pidfile}: {error.strerror}", event="file.write_failed")


def read(pidfile: str) -> int | None:
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


def request_restart(pidfile: str) -> None:
    """Announce that a daemon is ended because it must read a new configuration.

    The keeper then starts it again at once, and does not report its end.

    :raises OSError: the file can't be written
    """
    os.close(os.open(pidfile + _REQUEST, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))


def take_request(pidfile: str) -> bool:
    """Return whether a restart was requested, and forget it."""
    try:
        os.unlink(pidfile + _REQUEST)  # noqa: PTH108
    except OSError:
        return False
    return True


def count_restart(pidfile: str, log: Log) -> None:
    """Count a restart, in a file of one byte for each. A failure is only logged."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    try:
        fd = os.open(pidfile + _RESTARTS, flags, 0o644)
        try:
            os.write(fd, b".")
        finally:
            os.close(fd)
    except OSError as error:
        path = pidfile + _RESTARTS
        log.error(f"can't write {path}: {error.strerror}", event="file.write_failed")


def restarts(pidfile: str) -> int:
    """Return how often a process has been restarted since :func:`reset_restarts`."""
    try:
        return os.stat(pidfile + _RESTARTS).st_size  # noqa: PTH116
    except OSError:
        return 0


def reset_restarts(pidfile: str) -> None:
    remove(pidfile + _RESTARTS)
