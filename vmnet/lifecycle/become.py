"""Become another program: the last step of a start."""

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
from vmnet.lifecycle import privileges, stop_signals
from vmnet.model.machine import Command, Listener, Opened


def become(command: Command) -> NoReturn:
    """Execute the hypervisor in this process, so that it is PID 1.

    :raises LaunchError: the hypervisor can't be executed
    :raises MachineError: a file for the hypervisor can't be opened
    :raises InterruptedStartError: a stop signal has arrived
    """
    with ExitStack() as undo:
        _pass_on(command.keep_fds)
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
            # Only the hypervisor's user may open the files it creates, such as VNC's socket.
            undo.callback(os.umask, os.umask(0o177))
            _assume(command, undo)
        _reap_forever(undo)
        stop_signals.refuse_pending()
        try:
            os.execv(command.argv[0], command.argv)
        except OSError as error:
            raise LaunchError(
                f"can't execute {command.argv[0]}: {error.strerror}",
                "name the hypervisor's binary with VMNET_QEMU",
            ) from None


def _keep_input_open() -> None:
    """Replace standard input, unless it is a terminal, by a pipe that never ends.

    QEMU inherits both ends. At the end of its input, QEMU would stop showing the guest's console
    in the log (``is_lasting`` in the QEMU plugin).
    """
    if os.isatty(0):
        return
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    os.set_inheritable(writing, True)


def _pass_on(fds: Iterable[int]) -> None:
    for fd in fds:
        try:
            os.set_inheritable(fd, True)
        except OSError as error:
            raise LaunchError(
                f"descriptor {fd} can't be passed to the hypervisor: {error.strerror}",
                "a plugin listed it in Command.keep_fds, but it is not open",
            ) from None


def _open(file: Opened) -> None:
    try:
        if file.path.is_socket():
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(file.path))
                fd = client.detach()
        else:
            fd = os.open(file.path, (os.O_RDWR if file.writable else os.O_RDONLY) | os.O_CLOEXEC)
        _move(fd, file.fd)
    except OSError as error:
        raise MachineError(
            f"{file.path} can't be opened: {error.strerror}", "check its owner and mode"
        ) from None


def _listen(listener: Listener) -> None:
    """Create a listening socket under a temporary name and rename it.

    So under its final name it always listens, and only this user may open it.
    """
    temporary = listener.path.with_name(f".{listener.path.name}")
    mask = os.umask(0o177)
    try:
        temporary.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(temporary))
        server.listen()
        temporary.rename(listener.path)
        _move(server.detach(), listener.fd)
    except OSError as error:
        raise LaunchError(
            f"can't create the socket {listener.path}: {error.strerror or error}",
            "VMNET_RUN_DIR names its folder; the path of a socket has at most 107 bytes",
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
            "give the container the capabilities SETUID and SETGID, or set VMNET_USER=root",
        ) from None


def _reap_forever(undo: ExitStack) -> None:
    """Make the kernel reap all orphans, because the hypervisor as PID 1 would not.

    The kernel does this while SIGCHLD is ignored, also after the exec. Zombies that daemons have
    already left are reaped here.
    """
    undo.callback(signal.signal, signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
