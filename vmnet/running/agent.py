"""A client of qemu-guest-agent, which runs in the guest, for short sessions.

The guest writes every byte of an answer and may be hostile. So the size of an answer and the time
for it are limited, and callers get values of known types only (:mod:`vmnet.running.agent_values`).
https://qemu.readthedocs.io/en/latest/interop/qemu-ga-ref.html documents the commands.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vmnet import engine
from vmnet.errors import GuestError
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.net import unix
from vmnet.running import qmp_session, sockets
from vmnet.running.agent_values import Answer, printable

SECONDS = 5.0
"""For an answer, and for the sessions of other programs to end."""

LIMIT = 1 << 20
"""Bytes of an answer."""

_DELIMITER = b"\xff"  # not part of any UTF-8 text: the agent's parser begins anew
_CHUNK_BYTES = 1 << 18
_INSTALL = (
    "install and start qemu-guest-agent in the guest: `apt install qemu-guest-agent`, or `dnf` or "
    "`apk add`; on Windows from the CD of virtio-win"
)
# By words of the agent.
_HINTS = {
    "has been disabled": "the guest's configuration forbids it: see block-rpcs and allow-rpcs in "
    "/etc/qemu/qemu-ga.conf or /etc/sysconfig/qemu-ga",
    "execute child process": "name a program of the guest; a shell's words need `sh -c '…'`",
    "not been found": "the guest needs a newer qemu-guest-agent",
}


class NoAgentError(GuestError):
    """The VM has no channel for an agent, or no agent runs in the guest."""


class AgentError(GuestError):
    """The agent refuses a command, or does not answer as it should."""


class AgentSession:
    """A session with the agent. The agent answers one command after the other.

    :param connection: the channel
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()

    def synchronise(self, seconds: float = SECONDS) -> None:
        """Discard what the agent has sent to earlier sessions.

        :raises AgentError: the agent does not answer
        """
        end = time.monotonic() + seconds
        token = int.from_bytes(os.urandom(6), "big")
        self._send("guest-sync-delimited", {"id": token}, end, before=_DELIMITER)
        while True:
            self._discard_until_delimiter(end)
            try:
                document = json.loads(self._line("guest-sync-delimited", LIMIT, end))
            except (ValueError, RecursionError):
                continue  # from an earlier session
            if isinstance(document, dict) and document.get("return") == token:
                return

    def ask(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        seconds: float = SECONDS,
        limit: int = LIMIT,
    ) -> Answer:
        """Run a command of the agent, and return its answer.

        :param limit: bytes of the answer
        :raises AgentError: the agent refuses the command, or its answer is late, long or invalid
        """
        end = time.monotonic() + seconds
        self._send(command, arguments or {}, end)
        line = self._line(command, limit, end)
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            raise _failed(command, "its answer is not JSON") from None
        if isinstance(document, dict) and "return" in document:
            return Answer(command, document["return"])
        refusal = document.get("error") if isinstance(document, dict) else None
        why = refusal.get("desc") if isinstance(refusal, dict) else None
        raise _failed(command, printable(why) if isinstance(why, str) else "its answer is invalid")

    def _send(
        self, command: str, arguments: Mapping[str, object], end: float, before: bytes = b""
    ) -> None:
        request: dict[str, object] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._connection.settimeout(max(end - time.monotonic(), 0.01))
        try:
            self._connection.sendall(before + json.dumps(request).encode() + b"\n")
        except TimeoutError:
            raise _silent(command) from None
        except OSError as error:
            raise _failed(command, error.strerror or str(error)) from None

    def _discard_until_delimiter(self, end: float) -> None:
        while (found := self._received.find(_DELIMITER)) < 0:
            self._received.clear()
            self._receive("guest-sync-delimited", end)
        del self._received[: found + 1]

    def _line(self, command: str, limit: int, end: float) -> bytes:
        """Return the next line of the agent."""
        searched = 0
        while (found := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > limit:
                raise _failed(command, f"its answer is longer than {limit} bytes")
            self._receive(command, end)
        line = bytes(self._received[:found])
        del self._received[: found + 1]
        return line

    def _receive(self, command: str, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0:
            raise _silent(command)
        self._connection.settimeout(left)
        try:
            part = self._connection.recv(_CHUNK_BYTES)
        except TimeoutError:
            raise _silent(command) from None
        except OSError as error:
            raise _failed(command, error.strerror or str(error)) from None
        if not part:
            raise _failed(command, "QEMU closed the channel")
        self._received += part


def require(record: VmRecord) -> Path:
    """Return the socket of the agent's channel, if an agent has opened the channel in the guest.

    :raises NoAgentError: there is no channel, or no agent
    :raises GuestError: QEMU does not answer
    """
    if record.agent is None or record.qmp is None:
        raise NoAgentError(
            "this VM has no channel for qemu-guest-agent",
            "start the VM with VMNET_AGENT=on, the default",
        )
    with qmp_session.session(record.qmp) as qemu:
        is_open = is_open_in_guest(record.agent, qemu.ask("query-chardev"))
    if not is_open:
        raise NoAgentError("no qemu-guest-agent runs in the guest", _INSTALL)
    return record.agent


def is_open_in_guest(path: Path, chardevs: Any) -> bool:
    """Return whether a program in the guest has opened the channel.

    :param chardevs: QEMU's answer to ``query-chardev``
    """
    names = tuple(f"unix:{name}," for name in unix.bound_names(path))
    return any(
        chardev["frontend-open"]
        for chardev in chardevs
        if any(name in chardev["filename"] for name in names)
    )


@contextmanager
def session(
    path: Path, seconds: float = SECONDS, *, patience: float | None = None
) -> Iterator[AgentSession]:
    """Open a session with the agent.

    :param seconds: for the agent to answer
    :param patience: seconds for other sessions to end before, by default as many
    :raises vmnet.running.sockets.BusyError: another program still uses the channel
    :raises AgentError: the agent does not answer
    """
    with sockets.connect(path, patience=seconds if patience is None else patience) as connection:
        agent = AgentSession(connection)
        agent.synchronise(seconds)
        yield agent


def encode(data: bytes) -> str:
    """Return data as the agent takes it, in base64."""
    return base64.b64encode(data).decode()


def _silent(command: str) -> AgentError:
    return AgentError(
        f"the guest's qemu-guest-agent does not answer {command}",
        "is the guest hung, paused or busy? `vmnet status` shows its state, and "
        f"{engine.command('exec', '-it', 'vmnet', 'console')} its console",
    )


def _failed(command: str, why: str) -> AgentError:
    hints = (hint for words, hint in _HINTS.items() if words in why)
    return AgentError(
        f"the guest's qemu-guest-agent does not carry out {command}: {why}",
        next(hints, "the agent's own log in the guest may contain more"),
    )
