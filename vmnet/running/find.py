"""The machine that runs here, and its sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from vmnet.errors import GuestError
from vmnet.lifecycle import launched
from vmnet.lifecycle.launched import Launched
from vmnet.settings import RUN_DIR, value

_SECONDS = 5.0


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


def connect(path: Path) -> socket.socket:
    """A connection to one of the machine's sockets.

    :raises GuestError: nobody listens there, or it isn't ours
    """
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
