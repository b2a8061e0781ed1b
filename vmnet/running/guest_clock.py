"""Set the guest's clock right, by its agent. It stands still while QEMU is stopped."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from vmnet.errors import GuestError
from vmnet.lifecycle import vm_record
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.running import agent, snapshot_lock
from vmnet.running.agent import AgentError, AgentSession, NoAgentError
from vmnet.running.sockets import BusyError
from vmnet.supervision import program_log
from vmnet.supervision.resumption import NO_AGENT_STATUS

_log = logging.getLogger(__name__)
# After a pause, the guest may have much to do at first.
_SECONDS = 30.0
_TOLERANCE_SECONDS = 1.0
_TRIES = 5
_LARGEST = (1 << 63) - 1


def main(run_dir: str, missing: str) -> None:
    """Set the clock right after a pause: the program that the guard runs.

    :param missing: ``log`` to log that there is no agent, else ``silent``
    :raises SystemExit: there is no agent
    """
    with program_log.logged():
        if not after_pause(Path(run_dir), is_silent=missing == "silent"):
            raise SystemExit(NO_AGENT_STATUS)


def after_pause(run_dir: Path, *, is_silent: bool) -> bool:
    """Set the clock right, unless `vmnet snapshot` is at work, which does it itself.

    :param is_silent: whether a missing agent is not logged
    :return: false if there is no agent
    """
    record = vm_record.load(run_dir)
    if record is None or snapshot_lock.is_locked(run_dir):
        return True
    return set_right(record, is_silent=is_silent)


def set_right(record: VmRecord, *, is_silent: bool = False) -> bool:
    """Set the guest's clock right if it differs by more than a second. Log whether it is right.

    :param is_silent: whether a missing agent is not logged
    :return: false if there is no agent
    """
    try:
        with agent.session(_channel(record), _SECONDS) as session:
            _set(session)
    except NoAgentError as error:
        if not is_silent:
            _log.info(
                "the guest's clock may be late after the pause: %s",
                error.message,
                extra={"event": "guest.clock_late"},
            )
        return False
    except GuestError as error:
        _log.warning(
            "the guest's clock may be late after the pause: %s",
            error.message,
            extra={"event": "guest.clock_late"},
        )
    return True


def _channel(record: VmRecord) -> Path:
    try:
        return agent.require(record)
    except BusyError:  # the client of the control socket that stopped and resumed the guest
        assert record.agent is not None
        return record.agent


def _set(session: AgentSession) -> None:
    before = _seconds_late(session)
    if abs(before) <= _TOLERANCE_SECONDS:
        return
    # A busy guest may carry out the command late, and then its clock is late by that time.
    left = _TRIES
    while not _is_set(session):
        left -= 1
        if not left:
            raise GuestError("the guest is too busy to set it in time")
    way = "late" if before > 0 else "early"
    _log.info(
        "the guest's clock was %.0f s %s after the pause: it is set",
        abs(before),
        way,
        extra={"event": "guest.clock_set"},
    )


def _is_set(session: AgentSession) -> bool:
    """Set the clock, and return whether it is right then.

    :raises AgentError: the agent refuses, and the clock is not right
    """
    refusal = None
    try:
        session.ask("guest-set-time", {"time": time.time_ns()}, seconds=_SECONDS)
    except AgentError as error:
        refusal = error
    is_right = abs(_seconds_late(session)) <= _TOLERANCE_SECONDS
    if refusal is not None:
        if not is_right:
            raise refusal
        # The agent sets the system's clock first, and then that of the hardware.
        _log.debug("the hardware's clock in the guest: %s", refusal.message)
    return is_right


def _seconds_late(session: AgentSession) -> float:
    """Return by how many seconds the clock is late at least; less than zero if it is early.

    The guest reads its clock at any time between the question and the answer.
    """
    asked = time.time_ns()
    answer = session.ask("guest-get-time", seconds=_SECONDS).integer(-_LARGEST, _LARGEST)
    return (max(asked - answer, 0) + min(time.time_ns() - answer, 0)) / 1e9
