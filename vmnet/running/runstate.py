"""QEMU's run state, asked as cheaply as it can be.

`vmnet health` comes by every few seconds, and to import the qemu.qmp library, which is asyncio's,
takes longer than all the rest of it. So this is the one question it has, and no more.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from vmnet.noun import Noun, noun
from vmnet.running import find
from vmnet.running.find import BusyError

_SECONDS = 3.0
_QUESTION = b'{"execute": "qmp_capabilities"}\n{"execute": "query-status"}\n'

# What a person needs to know of each state that is not the machine at work (QAPI's RunState).
_TROUBLE = {
    "debug": "a debugger has stopped the guest",
    "guest-panicked": "the guest's kernel panicked",
    "internal-error": "QEMU stopped on an internal error",
    "io-error": "a disk failed and QEMU stopped the guest: is the host's disk full?",
    "paused": "the guest is paused: `cont` through QMP lets it go on",
    "prelaunch": "the guest has not been started: `cont` through QMP does (-S)",
    "shutdown": "the guest has powered off, and QEMU still runs",
    "watchdog": "the guest's watchdog found it stuck",
}
AT_WORK = ("running", "inmigrate", "finish-migrate", "save-vm", "restore-vm", "colo")


def trouble(state: str) -> str:
    """What a state other than :data:`AT_WORK` means."""
    return _TROUBLE.get(state, "QEMU does not run the guest")


@noun
class Answer(Noun):
    """What QEMU said.

    :param state: empty where it did not say
    :param busy: who is connected in our place; it can't be asked as long as they are
    :param silent: it took the connection and said nothing
    """

    state: str = ""
    busy: str = ""
    silent: bool = False


def ask(path: Path) -> Answer:
    """:raises vmnet.errors.GuestError: nobody listens there"""
    try:
        with find.connect(path, _SECONDS) as connection:
            connection.settimeout(_SECONDS)
            connection.sendall(_QUESTION)
            return Answer(_state(connection))
    except BusyError as error:
        return Answer(busy=error.others)
    except (OSError, ValueError):  # TimeoutError included
        return Answer(silent=True)


def _state(connection: socket.socket) -> str:
    """The answer among greeting and events; QEMU sends one JSON object a line."""
    with connection.makefile("rb") as lines:
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            if isinstance(answer := message.get("return"), dict) and "status" in answer:
                return str(answer["status"])
    raise ConnectionResetError("QEMU closed the connection")
