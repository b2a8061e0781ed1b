"""A client of QEMU's control socket (QEMU Machine Protocol) for short sessions.

The guest can make QEMU send events without end, and QEMU stores unread events in memory. So the
client reads everything, in large parts, but parses only answers and the awaited event.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vmnet import engine
from vmnet.errors import GuestError
from vmnet.running import sockets

SECONDS = 5.0
_LAST_READ_SECONDS = 0.001
_CHUNK_BYTES, _LONGEST_BYTES = 1 << 18, 1 << 20


class QmpSession:
    """A session with QEMU.

    :param awaited: the name of the event for :meth:`await_event`; other events are ignored
    """

    def __init__(self, connection: socket.socket, awaited: str = "") -> None:
        self._connection = connection
        self._awaited = awaited
        self._wanted = (b'"return"', b'"error"', *((f'"{awaited}"'.encode(),) if awaited else ()))
        self._incomplete = b""
        self._lines: list[bytes] = []
        self._number = 0
        self._has_happened = False
        self._last_read = 0.0  # the deadline before it

    def ask(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        seconds: float = SECONDS,
        fds: Sequence[int] = (),
    ) -> Any:
        """Run a command and return QEMU's answer.

        :param fds: descriptors of which QEMU gets copies with the command
        :raises GuestError: QEMU refuses the command or does not answer
        """
        try:
            answer = self._answer(command, arguments or {}, time.monotonic() + seconds, fds)
        except TimeoutError:
            raise GuestError(*_refused(command, "no answer")) from None
        except (OSError, ValueError) as error:
            raise GuestError(*_refused(command, str(error))) from None
        if "return" not in answer:
            refusal = answer.get("error")
            why = refusal.get("desc") if isinstance(refusal, dict) else refusal
            raise GuestError(*_refused(command, why))
        return answer["return"]

    def await_event(self, seconds: float) -> bool:
        """Return whether the awaited event happens within a time, or happened in this session.

        :raises GuestError: QEMU has ended
        """
        end = time.monotonic() + seconds
        try:
            while not self._has_happened:
                self._take(self._line(end))
        except TimeoutError:
            return False
        except (OSError, ValueError) as error:
            raise GuestError(*_refused("the command", str(error))) from None
        return True

    def _answer(
        self, command: str, arguments: Mapping[str, object], end: float, fds: Sequence[int]
    ) -> dict[str, Any]:
        self._number += 1
        request = {"execute": command, "arguments": arguments, "id": self._number}
        self._connection.settimeout(max(end - time.monotonic(), 0.01))
        line = json.dumps(request).encode() + b"\n"
        # A part that is too long for the socket's buffer waits, so descriptors come with the first.
        sent = socket.send_fds(self._connection, [line], fds) if fds else 0
        self._connection.sendall(line[sent:])
        while True:
            message = self._take(self._line(end))
            if message is not None and message.get("id") == self._number:
                return message

    def _take(self, line: bytes) -> dict[str, Any] | None:
        """Return a line's message if it is an answer; record the awaited event."""
        message = json.loads(line)
        if not isinstance(message, dict):
            return None
        if "event" in message:
            self._has_happened |= message["event"] == self._awaited
            return None
        return message

    def _line(self, end: float) -> bytes:
        """Return the next line that may be an answer or the awaited event.

        :raises OSError: QEMU has ended, sends an overlong line, or sends nothing (TimeoutError)
        """
        while not self._lines:
            left = end - time.monotonic()
            # On a busy machine, an answer may have come in time although this process runs late.
            # Only one read follows the deadline, because a flood never ends.
            if left <= 0 and self._last_read == end:
                raise TimeoutError
            if left <= 0:
                self._last_read = end
            self._connection.settimeout(max(left, _LAST_READ_SECONDS))
            part = self._connection.recv(_CHUNK_BYTES)
            if not part:
                raise ConnectionResetError("QEMU closed the connection")
            *lines, self._incomplete = (self._incomplete + part).split(b"\n")
            self._lines = [line for line in lines if any(word in line for word in self._wanted)]
            if len(self._incomplete) > _LONGEST_BYTES:
                raise ConnectionAbortedError("QEMU sends an overlong line")
        return self._lines.pop(0)


def _refused(command: str, why: object) -> tuple[str, str]:
    text = f"QEMU does not carry out {command}: {why}"
    return text, f"see the container's log: {engine.command('logs')}"


@contextmanager
def session(path: Path, awaited: str = "") -> Iterator[QmpSession]:
    """Open a session with QEMU.

    :raises GuestError: QEMU does not listen, or does not answer in time
    """
    with sockets.connect(path) as connection:
        qemu = QmpSession(connection, awaited)
        try:
            qemu.ask("qmp_capabilities")
        except GuestError:
            raise GuestError(
                f"QEMU accepts connections on {path}, but does not answer",
                "QEMU serves one client at a time: look for a client outside the container. If "
                f"QEMU hangs, {engine.kill()} ends it without writing back the disks",
            ) from None
        yield qemu
