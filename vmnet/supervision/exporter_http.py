"""Answer requests for the metrics by HTTP, in a process of an unprivileged user.

Any machine on the network may connect, and may be hostile. So the connections at a time, the bytes
and the time of a request, and the rate at which metrics are collected are limited. A client that
sends its request at once does not have to wait for those that send none.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO

from . import process_name
from .log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
MAX_CONNECTIONS, MAX_REQUEST_BYTES = 16, 8192
REQUEST_SECONDS = 5.0
_SEND_SECONDS = 5.0
_NOBODY = 65534
_FRESH_SECONDS = 5.0  # a collection takes a quarter of a second of CPU time


class Source:
    """The metrics, at most five seconds old.

    :param requests: the socket on which :func:`vmnet.supervision.exporter.collect` answers
    """

    def __init__(self, requests: socket.socket) -> None:
        self._requests, self._lock = requests, threading.Lock()
        self._text, self._fresh_until = b"", 0.0

    def read(self) -> bytes:
        """Return the text; empty if it can't be had."""
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._requests.sendall(b"?")
                self._text = self._receive(int.from_bytes(self._receive(4), "big"))
                self._fresh_until = time.monotonic() + _FRESH_SECONDS
            return self._text

    def _receive(self, size: int) -> bytes:
        parts = []
        while size > 0:
            part = self._requests.recv(size)
            if not part:
                raise ConnectionResetError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class _Handler(BaseHTTPRequestHandler):
    """Answers the single request of a connection, which has been read already."""

    server_version, sys_version = "vmnet", ""
    error_message_format, error_content_type = "%(message)s\n", "text/plain"

    def __init__(self, request: bytes, source: Source) -> None:
        self.rfile, self.wfile = BytesIO(request), BytesIO()
        self._source = source
        self.handle()

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND)
        elif text := self._source.read():
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
        else:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a client must not fill the container's log."""


def answer(request: bytes, source: Source) -> bytes:
    """Return the answer to a request."""
    handler = _Handler(request, source)
    assert isinstance(handler.wfile, BytesIO)
    return handler.wfile.getvalue()


def main(form: str, requests: str, *listeners: str) -> None:
    """Serve as an unprivileged user.

    :param form: of the log: text or json
    :param requests: the descriptor of the socket to the other process of the exporter
    :param listeners: those of the listening sockets
    """
    process_name.set_own("vmnet-http")
    _become_nobody(Log(form, "metrics"))
    serve([socket.socket(fileno=int(fd)) for fd in listeners], socket.socket(fileno=int(requests)))


def _become_nobody(log: Log) -> None:
    try:
        os.setgroups(())
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    except OSError as error:  # without the capabilities, or without this user in the namespace
        text = f"requests for metrics are parsed by root, which can't become another user: {error}"
        log.warning(text, event="privilege.missing")


def serve(listeners: Sequence[socket.socket], requests: socket.socket) -> None:
    """Serve until the other process of the exporter has ended."""
    source, slots = Source(requests), threading.BoundedSemaphore(MAX_CONNECTIONS)
    incomplete: deque[socket.socket] = deque()  # whose requests are, oldest first
    by_number = {listener.fileno(): listener for listener in listeners}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    poll.register(requests, 0)  # reports only its end
    while True:
        for number, _ in poll.poll():
            if number not in by_number:
                return
            try:
                connection, _ = by_number[number].accept()
            except OSError:  # the client has gone
                continue
            if not slots.acquire(blocking=False):
                with suppress(IndexError, OSError):  # it has just been completed
                    incomplete.popleft().shutdown(socket.SHUT_RDWR)
                slots.acquire()  # an answer takes seconds; further connections are in the backlog
            incomplete.append(connection)
            arguments = (connection, source, slots, incomplete)
            threading.Thread(target=_converse, args=arguments, daemon=True).start()


def _converse(
    connection: socket.socket,
    source: Source,
    slots: threading.BoundedSemaphore,
    incomplete: deque[socket.socket],
) -> None:
    try:
        with connection:
            try:
                request = _request(connection)
            finally:
                with suppress(ValueError):  # it was the oldest, and is shut down
                    incomplete.remove(connection)
            if request:
                connection.settimeout(_SEND_SECONDS)
                connection.sendall(answer(request, source))
    except OSError:  # the client is too slow or gone, or the exporter ends
        return
    finally:
        slots.release()


def _request(connection: socket.socket) -> bytes:
    """Return a request without its body; empty if it is too long or incomplete.

    :raises OSError: it takes too long, or the client is gone
    """
    end = time.monotonic() + REQUEST_SECONDS
    received = b""
    while b"\r\n\r\n" not in received and b"\n\n" not in received:
        if len(received) >= MAX_REQUEST_BYTES:
            return b""
        connection.settimeout(max(end - time.monotonic(), 0.001))
        part = connection.recv(MAX_REQUEST_BYTES)
        if not part or time.monotonic() > end:
            return b""
        received += part
    return received
