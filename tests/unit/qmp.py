"""A stand-in for QEMU's control socket: it serves one client at a time and answers commands."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.lab.wait import WAIT

GREETING = {
    "QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}}
    | {"capabilities": ["oob"]}
}


@define
class Qemu:
    """The stand-in.

    :param answers: by command
    :param events: sent when it receives a command
    :param told: the commands that it has received
    :param noise: sent before each answer
    :param refused: the commands that it refuses
    :param fds: the descriptors that it has received, until it removes a network back end
    """

    answers: Mapping[str, Any]
    events: Mapping[str, dict[str, Any]] = field(factory=dict)
    told: list[str] = field(factory=list)
    noise: bytes = b""
    refused: set[str] = field(factory=set)
    fds: list[int] = field(factory=list)

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        connection.sendall(json.dumps(GREETING).encode() + b"\r\n")
        for message in self._messages(connection):
            command = message["execute"]
            self.told.append(command)
            if command == "netdev_del":
                self.close()
            if event := self.events.get(command):
                connection.sendall(json.dumps(event).encode() + b"\r\n")
            connection.sendall(self.noise)
            body: dict[str, Any] = {"return": self.answers.get(command, {})}
            if command in self.refused:
                body = {"error": {"class": "GenericError", "desc": "it is refused"}}
            if "id" in message:
                body["id"] = message["id"]
            connection.sendall(json.dumps(body).encode() + b"\r\n")
            if command == "quit":
                return

    def _messages(self, connection: socket.socket) -> Iterator[dict[str, Any]]:
        """Read messages as QEMU does, with or without a newline between them."""
        text = ""
        while True:
            part, fds, _, _ = socket.recv_fds(connection, 4096, 8)
            self.fds += fds
            if not part:
                return
            text = (text + part.decode()).lstrip()
            while text:
                try:
                    message, end = json.JSONDecoder().raw_decode(text)
                except ValueError:
                    break
                text = text[end:].lstrip()
                yield message

    def close(self) -> None:
        """Close the received descriptors, as QEMU does with a back end that it removes."""
        while self.fds:
            os.close(self.fds.pop())


@contextmanager
def qemu(
    path: Path,
    status: str = "running",
    events: Mapping[str, dict[str, Any]] | None = None,
    noise: bytes = b"",
) -> Iterator[Qemu]:
    """Serve at a path during the context."""
    stand_in = Qemu(
        {
            "query-status": {"status": status, "running": status == "running"},
            "query-kvm": {"enabled": False, "present": True},
            "query-target": {"arch": "x86_64"},
            "query-chardev": [],
            "query-version": GREETING["QMP"]["version"],
        },
        events or {},
        noise=noise,
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=stand_in.serve, args=(listener,), daemon=True)
        thread.start()
        yield stand_in
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(WAIT)
        stand_in.close()
