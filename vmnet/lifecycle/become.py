"""Become another program: the last thing a start does."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from vmnet.errors import LaunchError
from vmnet.machine import Command


def become(command: Command) -> NoReturn:
    """Replace this process by a plain ``exec``, so that the hypervisor is PID 1.

    :raises LaunchError: it can't be executed
    """
    _hand_down(command.keep_fds)
    logging.shutdown()
    sys.stdout.flush()
    _reap_forever()
    try:
        os.execv(command.argv[0], command.argv)
    except OSError as error:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise LaunchError(
            f"can't execute {command.argv[0]}: {error.strerror}",
            "name the hypervisor's binary with VMNET_QEMU",
        ) from None


def _hand_down(fds: Iterable[int]) -> None:
    for fd in fds:
        try:
            os.set_inheritable(fd, True)
        except OSError as error:
            raise LaunchError(
                f"the descriptor {fd} can't be handed down: {error.strerror}",
                "a plugin named it in Command.keep_fds, and it is not open",
            ) from None


def _reap_forever() -> None:
    """Leave no zombies to a PID 1 that will not wait for them.

    Ignored across exec, SIGCHLD has the kernel reap every orphan from now on; those that a daemon's
    own forks left before are waited for here.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
