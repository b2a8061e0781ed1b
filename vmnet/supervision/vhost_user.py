"""Run a vhost-user back end, such as virtiofsd, in the background of a start.

The back end serves one connection: when the hypervisor ends, it ends as well. This program creates
the socket, so that only root can connect to it, and is done when the back end runs.
"""

from __future__ import annotations

import os
import socket

from . import spawning

_MODE = 0o600


def main(path: str, pidfile: str, log: str, *argv: str) -> None:
    """Start the back end with ``--fd``, a listening socket.

    :param path: of the socket
    :param log: the file for the back end's output
    """
    os.umask(0o777 & ~_MODE)
    for stale in (path, pidfile, log):
        _remove(stale)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), 2)
    fd = server.fileno()
    pid = spawning.spawn((*argv, f"--fd={fd}"), (1, 3), kept=(fd,), session=True)
    with open(pidfile, "w") as file:  # noqa: PTH123
        file.write(f"{pid}\n")


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
