"""The guard's connection to QEMU (QEMU Machine Protocol).

The guest sets the pace of some events, so nothing here grows with them or waits for their end: a
bounded number of bytes is read a time, a line is parsed only if it may be of interest, and a
connection with too much on it is hung up for a while. QEMU keeps no events for a socket without a
client, but all of them for a client that reads too slowly.
"""

from __future__ import annotations

import time
from _socket import AF_UNIX, SOCK_STREAM, socket  # without what the socket module imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# What of QEMU's is parsed at all.
_INTERESTING = (b'"GUEST_PANICKED"', b'"RESET"', b'"RESUME"', b'"SHUTDOWN"', b'"STOP"', b'"error"')
_HELLO = b'{"execute": "qmp_capabilities"}'
_CHUNK_BYTES = 1 << 15
# An idle machine says nothing, and one that ends some hundred bytes.
FLOOD_BYTES, _WINDOW_SECONDS = 1 << 16, 10.0
HUNG_UP_SECONDS = 10.0
ANSWER_SECONDS = 2.0
_LAST_CHUNKS = 64


class Monitor:
    """Nothing here waits: answers and events come when they come.

    :ivar obstacle: why there is no connection
    :ivar floods: how often it was hung up on one
    :ivar again_at: when to connect again after a flood (time.monotonic)
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket | None = None
        self._received = b""
        self._window_end = self._answer_by = 0.0
        self._heard = self._unanswered = 0
        self.obstacle = ""
        self.floods = 0
        self.again_at = 0.0

    def fileno(self) -> int:
        return self._socket.fileno() if self._socket else -1

    def is_connected(self, *, at_any_rate: bool) -> bool:
        """Whether there is a connection; one is made if there is none.

        :param at_any_rate: also to a monitor that was hung up on
        """
        if self._socket is None and (at_any_rate or time.monotonic() >= self.again_at):
            attempt = socket(AF_UNIX, SOCK_STREAM)
            attempt.setblocking(False)
            try:
                attempt.connect(self._path)
            except OSError as error:  # it is not there yet, or no longer
                attempt.close()
                self.obstacle = str(error)
                return False
            self._socket, self._received = attempt, b""
            self._heard = self._unanswered = 0
            self.tell((_HELLO,))
        return self._socket is not None

    def tell(self, commands: Sequence[bytes], seconds: float = ANSWER_SECONDS) -> bool:
        """Give QEMU commands, which it carries out one after the other; whether it has got them.

        :param commands: as JSON
        :param seconds: that it has for that before a flood has us hang up
        """
        assert self._socket is not None
        try:
            self._socket.sendall(b"".join(one + b"\n" for one in commands))
        except OSError as error:
            self.hang_up(str(error))
            return False
        self._unanswered += len(commands)
        self._answer_by = time.monotonic() + seconds
        return True

    def messages(self) -> list[dict[str, Any]]:
        """Something of what QEMU has said since the last time, as far as it is of interest."""
        part = self._receive()
        *lines, self._received = (self._received + part).split(b"\n")
        self._unanswered -= sum(b'"return"' in line or b'"error"' in line for line in lines)
        self._count(len(part))
        return [message for line in lines if (message := self._read(line)) is not None]

    def last_messages(self) -> list[dict[str, Any]]:
        """What the machine said before it ended."""
        self._unanswered, self._answer_by = 1, time.monotonic() + ANSWER_SECONDS
        return [message for _ in range(_LAST_CHUNKS) for message in self.messages()]

    def _receive(self) -> bytes:
        if self._socket is None:
            return b""
        try:
            part = self._socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            self.hang_up(str(error))
            return b""
        if not part:
            self.hang_up("QEMU closed the connection")
        return part

    def _count(self, size: int) -> None:
        """Hang up on a flood, but not before QEMU has done what it was told, or had its time.

        For it forgets what it was told by a client that has gone.
        """
        now = time.monotonic()
        if now >= self._window_end:
            self._heard, self._window_end = 0, now + _WINDOW_SECONDS
        self._heard += size
        is_served = self._unanswered <= 0 or now >= self._answer_by
        is_too_long = len(self._received) > FLOOD_BYTES
        if self._socket and (is_too_long or (is_served and self._heard > FLOOD_BYTES)):
            self.floods += 1
            self.hang_up("QEMU says too much")
            self.again_at = now + HUNG_UP_SECONDS

    def _read(self, line: bytes) -> dict[str, Any] | None:
        if not any(one in line for one in _INTERESTING):
            return None
        import json

        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None

    def hang_up(self, obstacle: str) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self.obstacle = None, obstacle
        self._received = b""
