"""QEMU's control socket (QEMU Machine Protocol), for one who asks and leaves.

The guest can have QEMU send events as fast as we read, and QEMU keeps in memory what is not read in
time. So all of it is read, in large parts, and only answers and the awaited event are parsed.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vmnet.errors import GuestError
from vmnet.running import find

SECONDS = 5.0
_CHUNK_BYTES, _LONGEST_BYTES = 1 << 18, 1 << 20


class Monitor:
    """A session with QEMU.

    :param awaited: the name of an event that may be awaited; all others pass unseen
    """

    def __init__(self, connection: socket.socket, awaited: str = "") -> None:
        self._connection = connection
        self._awaited = awaited
        self._wanted = (b'"return"', b'"error"', *((f'"{awaited}"'.encode(),) if awaited else ()))
        self._rest = b""
        self._lines: list[bytes] = []
        self._number = 0
        self._has_happened = False

    def ask(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        seconds: float = SECONDS,
    ) -> Any:
        """What QEMU answers to a command.

        :raises GuestError: it refuses, or says nothing
        """
        try:
            answer = self._answer(command, arguments or {}, time.monotonic() + seconds)
        except (OSError, ValueError) as error:  # TimeoutError included
            raise GuestError(*_refused(command, str(error) or "no answer")) from None
        if "return" not in answer:
            refusal = answer.get("error")
            why = refusal.get("desc") if isinstance(refusal, dict) else refusal
            raise GuestError(*_refused(command, why))
        return answer["return"]

    def await_event(self, seconds: float) -> bool:
        """Whether the awaited event has happened in this session, or does now.

        :raises GuestError: QEMU has ended
        """
        end = time.monotonic() + seconds
        try:
            while not self._has_happened:
                self._take(self._line(end))
        except TimeoutError:
            return False
        except (OSError, ValueError) as error:
            raise GuestError(*_refused("what it was told", str(error))) from None
        return True

    def _answer(self, command: str, arguments: Mapping[str, object], end: float) -> dict[str, Any]:
        self._number += 1
        question = {"execute": command, "arguments": arguments, "id": self._number}
        self._connection.settimeout(max(end - time.monotonic(), 0.01))
        self._connection.sendall(json.dumps(question).encode() + b"\n")
        while True:
            message = self._take(self._line(end))
            if message is not None and message.get("id") == self._number:
                return message

    def _take(self, line: bytes) -> dict[str, Any] | None:
        """The message of a line, if it is an answer; an awaited event is noted."""
        message = json.loads(line)
        if not isinstance(message, dict):
            return None
        if "event" in message:
            self._has_happened |= message["event"] == self._awaited
            return None
        return message

    def _line(self, end: float) -> bytes:
        """The next line of interest.

        :raises OSError: QEMU has ended, says too much at a time, or nothing (TimeoutError)
        """
        while not self._lines:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            part = self._connection.recv(_CHUNK_BYTES)
            if not part:
                raise ConnectionResetError("QEMU closed the connection")
            *lines, self._rest = (self._rest + part).split(b"\n")
            self._lines = [line for line in lines if any(one in line for one in self._wanted)]
            if len(self._rest) > _LONGEST_BYTES:
                raise ConnectionAbortedError("QEMU says too much at a time")
        return self._lines.pop(0)


def _refused(command: str, why: object) -> tuple[str, str]:
    text = f"QEMU does not do {command}: {why}"
    return text, "the container's log may say more: `docker logs NAME`"


@contextmanager
def session(path: Path, awaited: str = "") -> Iterator[Monitor]:
    """:raises GuestError: nobody listens there, or QEMU does not answer in time"""
    with find.connect(path) as connection:
        made = Monitor(connection, awaited)
        try:
            made.ask("qmp_capabilities")
        except GuestError:
            raise GuestError(
                f"QEMU takes connections on {path} and does not answer",
                "it serves one at a time: is somebody connected from outside the container? If it "
                "hangs, `docker kill NAME` ends it as if the plug were pulled",
            ) from None
        yield made
