"""Give QEMU its last commands once the process that asks for it has ended.

A script of its own, for it outlives that process: see :mod:`vmnet.running.stop`. Arguments: PID of
that process, path of the QMP socket, the commands, each as JSON.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import suppress

_SECONDS = 30.0


def main(pid: int, qmp: str, *commands: str) -> None:
    for stream in (0, 1, 2):  # whoever reads that process's streams must see their end
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [], _SECONDS)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(qmp)
        for command in ('{"execute": "qmp_capabilities"}', *commands):
            connection.sendall(f"{command}\n".encode())
        while connection.recv(4096):
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
