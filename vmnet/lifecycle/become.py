"""Become another program: the last thing a start does."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import NoReturn

from vmnet.errors import LaunchError, MachineError
from vmnet.lifecycle import early, privileges
from vmnet.machine import Command, Listener, Opened


def become(command: Command) -> NoReturn:
    """Replace this process by a plain ``exec``, so that the hypervisor is PID 1.

    :raises LaunchError: it can't be executed
    :raises MachineError: a file of its can't be opened
    :raises InterruptedStartError: a stop signal has come, which the hypervisor would only be left
    """
    with ExitStack() as undo:
        _hand_down(command.keep_fds)
        for file in command.opened:
            _open(file)
        for listener in command.listeners:
            undo.callback(listener.path.unlink, missing_ok=True)
            _listen(listener)
        if command.console is not None:
            _keep_input_open()
        logging.shutdown()
        sys.stdout.flush()
        if command.user is not None:
            if not privileges.shed() and command.user.uid == 0:
                privileges.drop()
            # What it makes itself, VNC's socket for one, is for its own user alone.
            undo.callback(os.umask, os.umask(0o177))
            _assume(command, undo)
        _reap_forever(undo)
        early.refuse_pending()
        try:
            os.execv(command.argv[0], command.argv)
        except OSError as error:
            raise LaunchError(
                f"can't execute {command.argv[0]}: {error.strerror}",
                "name the hypervisor's binary with VMNET_QEMU",
            ) from None


def _keep_input_open() -> None:
    """In place of ``/dev/null``, a pipe that the hypervisor itself holds open: see ``is_lasting``.

    Else QEMU would read the end of its input at once, and keep the guest's console from the log.
    """
    if os.isatty(0):
        return
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    os.set_inheritable(writing, True)


def _hand_down(fds: Iterable[int]) -> None:
    for fd in fds:
        try:
            os.set_inheritable(fd, True)
        except OSError as error:
            raise LaunchError(
                f"the descriptor {fd} can't be handed down: {error.strerror}",
                "a plugin named it in Command.keep_fds, and it is not open",
            ) from None


def _open(file: Opened) -> None:
    try:
        fd = os.open(file.path, (os.O_RDWR if file.writable else os.O_RDONLY) | os.O_CLOEXEC)
        _move(fd, file.fd)
    except OSError as error:
        raise MachineError(
            f"{file.path} can't be opened: {error.strerror}", "check its owner and mode"
        ) from None


def _listen(listener: Listener) -> None:
    """Under another name first: whoever finds the socket finds it listening, and ours alone."""
    beside = listener.path.with_name(f".{listener.path.name}")
    mask = os.umask(0o177)
    try:
        beside.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(beside))
        made.listen()
        beside.rename(listener.path)
        _move(made.detach(), listener.fd)
    except OSError as error:
        raise LaunchError(
            f"can't make the socket {listener.path}: {error.strerror or error}",
            "VMNET_RUN_DIR names its folder; the path of a socket has at most 107 characters",
        ) from None
    finally:
        os.umask(mask)


def _move(fd: int, to: int) -> None:
    if fd != to:
        os.dup2(fd, to, inheritable=True)
        os.close(fd)
    os.set_inheritable(to, True)


def _assume(command: Command, undo: ExitStack) -> None:
    assert command.user is not None
    try:
        undo.enter_context(privileges.assumed(command.user))
    except OSError as error:
        raise LaunchError(
            f"can't run {command.argv[0]} as user {command.user.uid}: {error.strerror}",
            "leave the container its SETUID and SETGID capabilities, or set VMNET_USER=root",
        ) from None


def _reap_forever(undo: ExitStack) -> None:
    """Leave no zombies to a PID 1 that will not wait for them.

    Ignored across exec, SIGCHLD has the kernel reap every orphan from now on; those that a daemon's
    own forks left before are waited for here.
    """
    undo.callback(signal.signal, signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
