"""Become another program: the last thing a start does."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import NoReturn

from vmnet.errors import LaunchError
from vmnet.machine import Command


def become(command: Command) -> NoReturn:
    """Replace this process by a plain ``exec``, so that the hypervisor is PID 1.

    :raises LaunchError: it can't be executed
    """
    for fd in command.keep_fds:
        os.set_inheritable(fd, True)
    logging.shutdown()
    sys.stdout.flush()
    # Ignored across exec, SIGCHLD has the kernel reap every orphan that lands on PID 1.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        os.execv(command.argv[0], command.argv)
    except OSError as error:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise LaunchError(
            f"can't execute {command.argv[0]}: {error.strerror}",
            "name the hypervisor's binary with VMNET_QEMU",
        ) from None
