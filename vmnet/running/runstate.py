"""QEMU's run state: the one question that `vmnet health` has, which comes by every few seconds."""

from __future__ import annotations

from pathlib import Path

from vmnet.errors import GuestError
from vmnet.noun import Noun, noun
from vmnet.running import find
from vmnet.running.find import BusyError
from vmnet.running.monitor import Monitor

_SECONDS = 3.0

# What a person needs to know of each state that is not the machine at work (QAPI's RunState).
_TROUBLE = {
    "debug": "a debugger has stopped the guest",
    "guest-panicked": "the guest's kernel panicked",
    "internal-error": "QEMU stopped on an internal error",
    "io-error": "a disk failed and QEMU stopped the guest: is the host's disk full?",
    "paused": "the guest is paused: `cont` through QMP lets it go on",
    "prelaunch": "the guest has not been started: `cont` through QMP does (-S)",
    "shutdown": "the guest has powered off, and QEMU still runs",
    "watchdog": "the guest's watchdog found it stuck",
}
AT_WORK = ("running", "inmigrate", "finish-migrate", "save-vm", "restore-vm", "colo")


def trouble(state: str) -> str:
    """What a state other than :data:`AT_WORK` means."""
    return _TROUBLE.get(state, "QEMU does not run the guest")


@noun
class Answer(Noun):
    """What QEMU said.

    :param state: empty where it did not say
    :param busy: who is connected in our place; it can't be asked as long as they are
    :param silent: it took the connection and said nothing
    """

    state: str = ""
    busy: str = ""
    silent: bool = False


def ask(path: Path) -> Answer:
    """:raises vmnet.errors.GuestError: nobody listens there"""
    try:
        connection = find.connect(path, _SECONDS)
    except BusyError as error:
        return Answer(busy=error.others)
    with connection:
        qemu = Monitor(connection)
        try:
            qemu.ask("qmp_capabilities", seconds=_SECONDS)
            return Answer(str(qemu.ask("query-status", seconds=_SECONDS)["status"]))
        except (GuestError, KeyError, TypeError):
            return Answer(silent=True)
