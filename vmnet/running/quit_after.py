"""Send QEMU its last commands after `vmnet stop` has ended.

This is a separate program because it outlives that process: see :mod:`vmnet.running.stop`.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress

_SECONDS = 30.0


def main(pid: str, qmp: str, *commands: str) -> None:
    """Send the commands when a process has ended.

    :param pid: of the process
    :param qmp: the path of QEMU's control socket
    :param commands: in JSON
    """
    for stream in (0, 1, 2):  # so that readers of `vmnet stop`'s output see its end
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(int(pid))], [], [], _SECONDS)
    # QEMU serves one client at a time, so this waits without a limit while another is connected.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(qmp)
        for command in ('{"execute": "qmp_capabilities"}', *commands):
            connection.sendall(f"{command}\n".encode())
        while connection.recv(4096):
            pass
