"""Freeze the guest's file systems during a snapshot, by its agent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from vmnet.errors import GuestError
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.running import agent
from vmnet.running.agent import NoAgentError

_log = logging.getLogger(__name__)
_SECONDS = 30.0  # for the guest to write what it has cached


@contextmanager
def frozen(record: VmRecord) -> Iterator[bool]:
    """Freeze the guest's file systems, as far as it has an agent. Yield whether they are frozen.

    :raises GuestError: they can't be thawed
    """
    is_frozen = _freeze(record)
    try:
        yield is_frozen
    finally:
        if is_frozen:
            thaw(record)


def _freeze(record: VmRecord) -> bool:
    try:
        path = agent.require(record)
    except NoAgentError as error:
        _log.info(
            "the guest's file systems are not frozen: %s",
            error.message,
            extra={"event": "guest.not_frozen"},
        )
        return False
    try:
        with agent.session(path) as session:
            count = session.ask("guest-fsfreeze-freeze", seconds=_SECONDS).integer(0, 1 << 31)
    except GuestError as error:
        _log.warning(
            "the guest's file systems are not frozen: %s",
            error.message,
            extra={"event": "guest.not_frozen"},
        )
        thaw(record)  # some of them may be, or all of them later
        return False
    _log.info("froze %s of the guest's file systems", count, extra={"event": "guest.frozen"})
    return True


def thaw(record: VmRecord, *, needs_agent: bool = True) -> None:
    """Thaw the guest's file systems if they are frozen.

    :param needs_agent: whether a missing agent is an error
    :raises GuestError: they may stay frozen
    """
    try:
        with agent.session(agent.require(record), _SECONDS) as session:
            if session.ask("guest-fsfreeze-status", seconds=_SECONDS).text() == "frozen":
                session.ask("guest-fsfreeze-thaw", seconds=_SECONDS)
    except GuestError as error:
        if isinstance(error, NoAgentError) and not needs_agent:
            return
        raise GuestError(
            f"the guest's file systems may still be frozen: {error.message}",
            "`vmnet snapshot thaw` tries it again; else restart the VM",
        ) from None
