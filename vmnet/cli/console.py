"""``vmnet console``: attach to the running VM's serial console."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from vmnet import engine
from vmnet.errors import GuestError
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.running import console, sockets
from vmnet.running.find_vm import find_vm
from vmnet.running.sockets import BusyError
from vmnet.terminal.options import Parser

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _parser().parse_args(arguments)
    record = find_vm(environ)
    with _connect(record, take=options.take) as connection:
        # Without a terminal, `docker exec` does not pass Ctrl-C on.
        leave = "Ctrl-] leaves, Enter shows a prompt" if sys.stdin.isatty() else "SIGTERM ends it"
        _log.info("attached to the console: %s", leave, extra={"event": "console.attached"})
        try:
            detached = console.attach(connection, sys.stdin.fileno(), sys.stdout.fileno())
        except console.Interrupted as interrupted:
            return 128 + interrupted.number
        except KeyboardInterrupt:
            detached = True
    if sys.stdin.isatty():
        print(file=sys.stderr)  # the cursor may be in the middle of a line
    _log.info(
        "detached: the VM keeps running" if detached else "the console has closed: QEMU has ended",
        extra={"event": "console.detached"},
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "console",
        "Attach to the running VM's serial console: `docker exec -it NAME vmnet console`. "
        "Ctrl-] leaves it. Standard input may be a pipe, which goes to the guest unchanged.",
        json=False,
    )
    parser.add_argument("--take", action="store_true", help="end the session that is attached")
    return parser


def _connect(record: VmRecord, *, take: bool) -> socket.socket:
    if record.console is None:
        raise GuestError(
            "this VM has no console socket: VMNET_CONSOLE is off, or standard input is a pipe",
            f"{engine.attach()}; for `vmnet console` start the VM with `-d` or `-it`, "
            "VMNET_CONSOLE=on and QEMU 10",
        )
    try:
        return sockets.connect(record.console, patience=0)
    except BusyError as error:
        if take:
            return _take(record.console, error)
        raise GuestError(
            f"{error.others} is already attached, and the console serves one session at a time",
            "leave that session with Ctrl-], or end it with `vmnet console --take`",
        ) from None


def _take(path: Path, busy: BusyError) -> socket.socket:
    """End the attached sessions and connect.

    :raises GuestError: a session does not end
    """
    for client in busy.clients:
        if client.pid:
            with suppress(ProcessLookupError):
                os.kill(client.pid, signal.SIGTERM)
    return sockets.connect(path)
