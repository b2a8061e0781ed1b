"""The guard's connection to QEMU's control socket (QEMU Machine Protocol).

The guest controls the rate of some events. So each call reads a limited number of bytes, parses
only lines that may matter, and never waits. During a flood the connection is closed for a while:
QEMU keeps all events for a client that reads too slowly, and none without a client.
"""

from __future__ import annotations

import time
from _socket import AF_UNIX, SOCK_STREAM, socket  # the socket module imports more

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Only lines that contain one of these are parsed.
_RELEVANT = tuple(
    b'"%s"' % word
    for word in (
        *(b"BLOCK_IO_ERROR", b"GUEST_PANICKED", b"RESET", b"RESUME", b"SHUTDOWN", b"STOP"),
        *(b"error", b"firmware", b"status"),
    )
)
_HELLO = b'{"execute": "qmp_capabilities"}'
_CHUNK_BYTES = 1 << 15
# An idle QEMU sends nothing, and an ending QEMU some hundred bytes.
FLOOD_BYTES, _WINDOW_SECONDS = 1 << 16, 10.0
RECONNECT_SECONDS = 10.0
ANSWER_SECONDS = 2.0
_LAST_CHUNKS = 64


class Connection:
    """A client that never waits.

    :param first: commands to send after each connect
    :ivar obstacle: why there is no connection
    :ivar floods: how many floods have closed the connection
    :ivar reconnect_at: when to connect again after a flood (time.monotonic)
    """

    def __init__(self, path: str, first: Sequence[bytes] = ()) -> None:
        self._path, self._first = path, first
        self._socket: socket | None = None
        self._unparsed = b""
        self._window_end = self._answer_by = 0.0
        self._received = self._unanswered = 0
        self.obstacle = ""
        self.floods = 0
        self.reconnect_at = 0.0

    def fileno(self) -> int:
        return self._socket.fileno() if self._socket else -1

    def connect(self, *, also_after_flood: bool) -> bool:
        """Connect if there is no connection, and return whether there is one now.

        :param also_after_flood: connect even before `reconnect_at`
        """
        if self._socket is None and (also_after_flood or time.monotonic() >= self.reconnect_at):
            attempt = socket(AF_UNIX, SOCK_STREAM)
            attempt.setblocking(False)
            try:
                attempt.connect(self._path)
            except OSError as error:  # QEMU does not listen yet, or has ended
                attempt.close()
                self.obstacle = str(error)
                return False
            self._socket, self._unparsed = attempt, b""
            self._received = self._unanswered = 0
            self.send((_HELLO, *self._first))
        return self._socket is not None

    def send(self, commands: Sequence[bytes], seconds: float = ANSWER_SECONDS) -> bool:
        """Send commands, which QEMU executes in turn, and return whether it received them.

        :param commands: as JSON
        :param seconds: the time to execute them before a flood may close the connection
        """
        assert self._socket is not None
        try:
            self._socket.sendall(b"".join(command + b"\n" for command in commands))
        except OSError as error:
            self.disconnect(str(error))
            return False
        self._unanswered += len(commands)
        self._answer_by = time.monotonic() + seconds
        return True

    def messages(self) -> list[dict[str, Any]]:
        """Return the relevant messages of the next chunk."""
        chunk = self._receive()
        *lines, self._unparsed = (self._unparsed + chunk).split(b"\n")
        self._unanswered -= sum(b'"return"' in line or b'"error"' in line for line in lines)
        self._check_flood(len(chunk))
        return [message for line in lines if (message := self._parse(line)) is not None]

    def last_messages(self) -> list[dict[str, Any]]:
        """Return the relevant messages that QEMU sent before it ended."""
        self._unanswered, self._answer_by = 1, time.monotonic() + ANSWER_SECONDS
        return [message for _ in range(_LAST_CHUNKS) for message in self.messages()]

    def _receive(self) -> bytes:
        if self._socket is None:
            return b""
        try:
            chunk = self._socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            self.disconnect(str(error))
            return b""
        if not chunk:
            self.disconnect("QEMU closed the connection")
        return chunk

    def _check_flood(self, size: int) -> None:
        """Disconnect during a flood, but give QEMU time to answer its commands.

        QEMU drops the unexecuted commands of a client that disconnects.
        """
        now = time.monotonic()
        if now >= self._window_end:
            self._received, self._window_end = 0, now + _WINDOW_SECONDS
        self._received += size
        is_answered = self._unanswered <= 0 or now >= self._answer_by
        is_too_long = len(self._unparsed) > FLOOD_BYTES
        if self._socket and (is_too_long or (is_answered and self._received > FLOOD_BYTES)):
            self.floods += 1
            self.disconnect("QEMU sends too many events")
            self.reconnect_at = now + RECONNECT_SECONDS

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        if not any(word in line for word in _RELEVANT):
            return None
        import json

        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None

    def disconnect(self, obstacle: str) -> None:
        """Close the connection, and record the reason."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self.obstacle = None, obstacle
        self._unparsed = b""
