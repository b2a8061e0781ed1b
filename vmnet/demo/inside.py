"""``python -m vmnet.demo.inside HOSTNAME``: set the host name, as an engine does, and run vmnet.

This is PID 1 of the demonstration's container.
"""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    socket.sethostname(sys.argv[1])
    os.execv(sys.executable, (sys.executable, "-P", "-m", "vmnet", "run"))


if __name__ == "__main__":
    main()
