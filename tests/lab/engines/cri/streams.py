"""Forward a port and attach to a container through containerd's streaming server, by WebSocket.

A message begins with the number of its channel.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from attrs import frozen
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ...wait import WAIT
from .containerd import Containerd

_PROTOCOL = "v4.channel.k8s.io"
_STDIN, _STDOUT = 0, 1
_PORT = 0  # both directions of a forwarded port; errors are on the next channel


@frozen
class Stream:
    """Two directions of bytes."""

    _connection: ClientConnection
    _incoming: int
    _outgoing: int

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._connection.send(bytes([self._outgoing]) + data)

    def read(self, until: bytes = b"") -> bytes:
        """Return what arrives before a text, with the text, or before the other end closes."""
        received = b""
        while not until or until not in received:
            try:
                message = self._connection.recv(WAIT)
            except ConnectionClosed:
                assert not until, received
                break
            except TimeoutError:
                raise AssertionError(f"no {until!r} in {received!r}") from None
            assert isinstance(message, bytes)
            if message[0] == self._incoming:
                received += message[1:]
        return received


@contextmanager
def forward(runtime: Containerd, sandbox: str, port: int) -> Iterator[Stream]:
    """Connect to a port of a pod, which the runtime dials on 127.0.0.1 in the pod's network."""
    url = runtime.cri("PortForward", pod_sandbox_id=sandbox, port=[port])["url"]
    with _connected(runtime, url) as connection:
        for _ in ("data", "errors"):  # each channel begins with the port's number
            connection.recv(WAIT)
        yield Stream(connection, _PORT, _PORT)


@contextmanager
def attach(runtime: Containerd, container: str) -> Iterator[Stream]:
    """Connect to the terminal of a container's first process."""
    options = {"stdin": True, "stdout": True, "tty": True}
    url = runtime.cri("Attach", container_id=container, **options)["url"]
    with _connected(runtime, url) as connection:
        yield Stream(connection, _STDOUT, _STDIN)


@contextmanager
def _connected(runtime: Containerd, url: str) -> Iterator[ClientConnection]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    with runtime.node.entered():
        made = socket.create_connection((parts.hostname, parts.port), WAIT)
    web_socket = parts._replace(scheme="ws").geturl()
    with connect(
        web_socket,
        sock=made,
        subprotocols=[_PROTOCOL],  # type: ignore[list-item]
        open_timeout=WAIT,
        ping_interval=None,  # a busy containerd answers late
    ) as connection:
        yield connection
