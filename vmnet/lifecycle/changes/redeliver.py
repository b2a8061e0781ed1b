"""Deliver a changed identity to a running guest: write the files, and restart their daemons."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from vmnet.errors import DeliveryError
from vmnet.lifecycle import deliver, files
from vmnet.model.delivery import Daemon, Delivery
from vmnet.supervision import pidfiles

_log = logging.getLogger(__name__)
_SECONDS, _POLL_SECONDS = 4.0, 0.02


def redeliver(
    before: Sequence[Delivery], after: Sequence[Delivery], undo: ExitStack
) -> tuple[Daemon, ...]:
    """Replace deliveries, as far as they differ, and return the daemons that were not there before.

    A delivery without daemons, such as cloud-init's seed, is for the guest's boot, so a running
    guest does not see it; a line of the log says so.

    :raises DeliveryError: a daemon does not restart
    :raises StateError: a file can't be written
    """
    earlier = {delivery.strategy: delivery for delivery in before}
    added: list[Daemon] = []
    for delivery in after:
        old = earlier.get(delivery.strategy, Delivery(delivery.strategy))
        if (delivery.files, delivery.daemons) == (old.files, old.daemons):
            continue
        if not delivery.daemons:
            _log.warning(
                "%s reaches the guest only at its start",
                delivery.strategy,
                extra={"event": "identity.not_carried"},
            )
            continue
        for line in delivery.not_carried:
            if line not in old.not_carried:
                _log.warning("not carried: %s", line, extra={"event": "identity.not_carried"})
        undo.callback(_replace, delivery, old)
        added += _replace(old, delivery)
    return tuple(added)


def _replace(old: Delivery, new: Delivery) -> Iterable[Daemon]:
    """Write the files that differ, restart the daemons that use them, and start further daemons."""
    changed = [file for file in new.files if file not in old.files]
    for file in changed:
        files.write(file.path, file.content, file.mode)
    known = {daemon.pidfile for daemon in old.daemons}
    words = {str(file.path) for file in changed}
    for daemon in new.daemons:
        if daemon.pidfile not in known:
            deliver.launch_daemon(daemon)
        elif words & set(_files_of(daemon, new)):
            restart(daemon)
    return [daemon for daemon in new.daemons if daemon.pidfile not in known]


def _files_of(daemon: Daemon, delivery: Delivery) -> Iterator[str]:
    """Yield the files that a daemon reads: those of its command line, and those of no other's."""
    lines = {other.pidfile: " ".join(other.argv) for other in delivery.daemons}
    for path in (str(file.path) for file in delivery.files):
        if path in lines[daemon.pidfile] or not any(path in line for line in lines.values()):
            yield path


def restart(daemon: Daemon) -> None:
    """Make the keeper restart a daemon, and wait until the new process is ready.

    :raises DeliveryError: the keeper does not restart it in time
    """
    pidfile = str(daemon.pidfile)
    pid = pidfiles.read(pidfile)
    if pid is None:
        return  # it has ended; the keeper starts it again with the new files
    try:
        end = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        pidfiles.request_restart(pidfile)
        signal.pidfd_send_signal(end, signal.SIGTERM)
    except OSError as error:
        pidfiles.take_request(pidfile)
        raise DeliveryError(
            f"{daemon.name} can't be restarted: {error.strerror}", "restart the container"
        ) from None
    finally:
        os.close(end)
    deadline = time.monotonic() + _SECONDS
    while pidfiles.read(pidfile) in (None, pid):
        if time.monotonic() > deadline:
            raise DeliveryError(
                f"{daemon.name} was not restarted in {_SECONDS:g} s",
                "does its keeper run? `vmnet status` shows it",
            )
        time.sleep(_POLL_SECONDS)
