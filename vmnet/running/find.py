"""The machine that runs here, and its sockets."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from vmnet.errors import GuestError
from vmnet.lifecycle import launched
from vmnet.lifecycle.launched import Launched
from vmnet.net import unix
from vmnet.net.unix import Client
from vmnet.settings import RUN_DIR, value

_SECONDS, _LOOK_SECONDS = 5.0, 0.05


def machine(environ: Mapping[str, str]) -> Launched:
    """The machine that runs here.

    :raises GuestError: none does
    """
    run_dir = value(environ, RUN_DIR)
    found = launched.load(run_dir)
    if found is None:
        raise GuestError(
            f"no VM runs here: {run_dir} has no record of one",
            "`docker exec NAME vmnet …` asks in the container of a VM, and as root",
        )
    return found


class BusyError(GuestError):
    """QEMU serves somebody else, and one client a socket.

    :param others: who that is
    """

    def __init__(self, path: Path, others: tuple[Client, ...]) -> None:
        self.clients = others
        super().__init__(
            f"{self.others} is connected to {path}, which serves one at a time",
            "try again when that has ended",
        )

    @property
    def others(self) -> str:
        """The clients, for a sentence."""
        return " and ".join(map(str, self.clients))


def connect(path: Path, patience: float = _SECONDS) -> socket.socket:
    """A connection to one of the machine's sockets.

    :param patience: how many seconds to wait for somebody else's end
    :raises BusyError: somebody else is connected
    :raises GuestError: nobody listens there, or it isn't ours
    """
    end = time.monotonic() + patience
    while others := unix.clients(path):
        if time.monotonic() >= end:
            raise BusyError(path, others)
        time.sleep(_LOOK_SECONDS)
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(_SECONDS)
    try:
        made.connect(os.fspath(path))
    except OSError as error:
        made.close()
        raise GuestError(
            f"can't connect to {path}: {error.strerror or error}",
            "it is root's alone, and QEMU's as long as that runs: is this the VM's container?",
        ) from None
    return made
