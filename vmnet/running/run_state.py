"""Query QEMU's run state, as `vmnet health` does every few seconds."""

from __future__ import annotations

import time
from pathlib import Path

from vmnet.errors import GuestError
from vmnet.model.base import frozen
from vmnet.running import sockets
from vmnet.running.qmp_session import QmpSession
from vmnet.running.sockets import BusyError

# Explains each state of QAPI's RunState in which the guest does not run.
_TROUBLE = {
    "debug": "a debugger has stopped the guest",
    "guest-panicked": "the guest's kernel panicked",
    "internal-error": "QEMU stopped on an internal error",
    "io-error": "a disk failed and QEMU stopped the guest: is the host's disk full?",
    "paused": "the guest is paused: `cont` on QMP resumes it",
    "prelaunch": "the guest has not been started (-S): `cont` on QMP starts it",
    "shutdown": "the guest has powered off, but QEMU still runs",
    "watchdog": "the guest's watchdog expired",
}
AT_WORK = ("running", "inmigrate", "finish-migrate", "save-vm", "restore-vm", "colo")


def trouble(state: str) -> str:
    """Explain a state that is not in :data:`AT_WORK`."""
    return _TROUBLE.get(state, "QEMU does not run the guest")


@frozen
class RunState:
    """QEMU's run state, or why it is unknown.

    :param state: the run state; empty if QEMU did not answer
    :param busy: the client that occupies the socket; empty if the socket was free
    :param silent: whether QEMU accepted the connection but did not answer
    """

    state: str = ""
    busy: str = ""
    silent: bool = False


def ask(path: Path, seconds: float) -> RunState:
    """Query QEMU's run state.

    :param seconds: the limit; half of it is for other clients to disconnect
    :raises vmnet.errors.GuestError: QEMU does not listen
    """
    end = time.monotonic() + seconds
    try:
        connection = sockets.connect(path, seconds / 2, seconds / 2)
    except BusyError as error:
        return RunState(busy=error.others)
    with connection:
        qemu = QmpSession(connection)
        try:
            qemu.ask("qmp_capabilities", seconds=end - time.monotonic())
            status = qemu.ask("query-status", seconds=end - time.monotonic())
            return RunState(str(status["status"]))
        except (GuestError, KeyError, TypeError):
            return RunState(silent=True)
