"""Write the files and start the daemons of a delivery."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

from vmnet import process
from vmnet.errors import DeliveryError
from vmnet.lifecycle import files
from vmnet.model.delivery import Daemon, Delivery

_log = logging.getLogger(__name__)


def deliver(delivery: Delivery, undo: ExitStack) -> None:
    """Write a delivery's files and start its daemons, except the late ones.

    :raises DeliveryError: a daemon can't be started
    :raises StateError: a file can't be written
    """
    for file in delivery.files:
        undo.callback(_remove, file.path)
        files.write(file.path, file.content, file.mode)
    for daemon in delivery.daemons:
        start(daemon, undo)


def start(daemon: Daemon, undo: ExitStack) -> None:
    """Start a daemon, unless it is a late one; the undo ends it.

    :raises DeliveryError: it can't be started
    """
    undo.callback(_stop, daemon)
    launch_daemon(daemon)


def launch_daemon(daemon: Daemon) -> None:
    """Start a daemon.

    :raises DeliveryError: it can't be started
    """
    hint = f"its log is {daemon.log}" if daemon.log else "`vmnet plan` shows its configuration"
    try:
        _remove(daemon.pidfile)  # may be of an earlier start
        if daemon.log and daemon.log.parent == daemon.pidfile.parent:
            _remove(daemon.log)  # an earlier guest may have filled it up to its size limit
        if daemon.late:
            return
        outcome = process.run(daemon.argv)
    except OSError as error:  # TimeoutError included
        raise DeliveryError(f"can't start {daemon.name}: {error}", hint) from None
    if outcome.status != 0:
        raise DeliveryError(
            f"{daemon.name} ended with status {outcome.status}: {outcome.stderr or 'no message'}",
            hint,
        )
    if _pid(daemon) is None and not daemon.may_end:
        raise DeliveryError(
            f"{daemon.name} wrote no process ID to {daemon.pidfile}, so vmnet can't supervise it",
            "a daemon must write its process ID before its parent exits; see docs/hooks.md",
        )


def _stop(daemon: Daemon) -> None:
    """End a daemon if it runs."""
    if pid := _pid(daemon):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        except PermissionError:  # it runs as another user
            _log.warning(
                "without the capability KILL, %s ends with the container",
                daemon.name,
                extra={"event": "privilege.missing"},
            )
    _remove(daemon.pidfile)


def _pid(daemon: Daemon) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int(daemon.pidfile.read_text())
    return None


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()
