"""Send QEMU its last commands after `vmnet stop` has ended.

This is a separate script because it outlives that process: see :mod:`vmnet.running.stop`. Its
arguments are the PID of the process, the path of the QMP socket, and the commands in JSON.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import suppress

_SECONDS = 30.0


def main(pid: int, qmp: str, *commands: str) -> None:
    for stream in (0, 1, 2):  # so that readers of `vmnet stop`'s output see its end
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
