"""Run a command in the guest by its agent (guest-exec).

The agent returns the output only when the command has ended. Between two questions the channel is
free for other sessions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from attrs import evolve

from vmnet.errors import GuestError
from vmnet.model.base import frozen
from vmnet.running import agent
from vmnet.running.agent_values import Answer

INPUT_LIMIT = 4 << 20
"""Bytes of standard input."""

TIMED_OUT = 124
"""The exit status after the time limit, as of timeout(1)."""

_OUTPUT_LIMIT = 16 << 20  # bytes of each stream that the agent keeps
# Both streams in base64, and the rest of the answer.
_ANSWER_LIMIT = 2 * (_OUTPUT_LIMIT * 4 // 3) + (1 << 20)
_ANSWER_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_END_SECONDS = 2.0
_MAX_STATUS = 255


class InterruptedCommandError(KeyboardInterrupt):
    """The user has interrupted the wait for a command, which still runs.

    :param pid: its process in the guest
    """

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid


@frozen
class Outcome:
    """The end of a command.

    :param status: its exit status; 128 plus the number of the signal that ended it; 124 if it
        exceeded the time limit
    :param truncated: the streams of which the agent kept only the beginning
    :param timed_out: whether it exceeded the time limit
    :param running: the process in the guest, if it then could not be ended
    """

    status: int
    stdout: bytes = b""
    stderr: bytes = b""
    truncated: tuple[str, ...] = ()
    timed_out: bool = False
    running: int | None = None


def run(path: Path, argv: Sequence[str], given: bytes | None, timeout: float | None) -> Outcome:
    """Run a command in the guest, and return its outcome.

    :param path: the agent's channel
    :param given: its standard input
    :param timeout: seconds after which the command is ended; None for no limit
    :raises GuestError: the agent can't start the command, or its answer is invalid
    :raises InterruptedCommandError: SIGINT arrived
    """
    end = None if timeout is None else time.monotonic() + timeout
    pid = _start(path, argv, given)
    try:
        return _await(path, pid, end) or _stop(path, pid)
    except KeyboardInterrupt:
        raise InterruptedCommandError(pid) from None


def _start(path: Path, argv: Sequence[str], given: bytes | None = None) -> int:
    arguments: dict[str, object] = {
        "path": argv[0],
        "arg": list(argv[1:]),
        "capture-output": True,  # both streams, apart
    }
    if given:
        arguments["input-data"] = agent.encode(given)
    # Another session lasts as long as the agent takes for a large answer.
    with agent.session(path, patience=_ANSWER_SECONDS) as session:
        answer = session.ask("guest-exec", arguments, seconds=_ANSWER_SECONDS)
    return answer["pid"].integer(0, (1 << 63) - 1)


def _await(path: Path, pid: int, end: float | None) -> Outcome | None:
    """Return the outcome, or None at the end of the time.

    The command runs already, so a guest that is hung for a while is no reason to fail.
    """
    pause = _FIRST_PAUSE
    while True:
        left = _ANSWER_SECONDS if end is None else end - time.monotonic()
        with agent.session(path, max(left, agent.SECONDS), patience=_ANSWER_SECONDS) as session:
            answer = session.ask(
                "guest-exec-status", {"pid": pid}, seconds=_ANSWER_SECONDS, limit=_ANSWER_LIMIT
            )
        if answer["exited"].boolean():
            return outcome(answer)
        left = pause if end is None else min(pause, end - time.monotonic())
        if left <= 0:
            return None
        time.sleep(left)
        pause = min(2 * pause, _LONGEST_PAUSE)


def outcome(answer: Answer) -> Outcome:
    """Return the outcome of a command that has ended.

    :raises InvalidError: the answer is invalid
    """
    if "signal" in answer:
        status = 128 + answer["signal"].integer(1, 127)
    else:
        # Windows has larger numbers.
        code = answer["exitcode"].integer(-(1 << 31), (1 << 32) - 1)
        status = code if 0 <= code <= _MAX_STATUS else _MAX_STATUS
    return Outcome(
        status,
        answer["out-data"].data() if "out-data" in answer else b"",
        answer["err-data"].data() if "err-data" in answer else b"",
        tuple(
            name
            for name, key in (("stdout", "out-truncated"), ("stderr", "err-truncated"))
            if key in answer and answer[key].boolean()
        ),
    )


def _stop(path: Path, pid: int) -> Outcome:
    """End a command that exceeded its time, and return what it has written."""
    for signal in ("TERM", "KILL"):
        with suppress(GuestError):  # Windows has no shell
            _start(path, ("/bin/sh", "-c", f"kill -{signal} {pid}"))
            if ended := _await(path, pid, time.monotonic() + _END_SECONDS):
                return evolve(ended, status=TIMED_OUT, timed_out=True)
    return Outcome(TIMED_OUT, timed_out=True, running=pid)
