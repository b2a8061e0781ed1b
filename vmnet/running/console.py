"""Attach a terminal to the serial console."""

from __future__ import annotations

import os
import select
import signal
import socket
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

DETACH = b"\x1d"  # Ctrl-], as in telnet and virsh; Docker's Ctrl-P is a common key in shells

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_CHUNK = 4096


class Interrupted(Exception):  # noqa: N818 - not an error
    """A signal ends the session.

    :param number: the signal's number
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def attach(console: socket.socket, keyboard: int, screen: int) -> bool:
    """Transfer bytes until the console closes or the user detaches.

    Bytes from a pipe go to the guest unchanged; after the pipe's end, the output continues.

    :return: whether the user has detached
    :raises Interrupted: a signal arrived; the terminal's mode is restored
    """
    console.setblocking(False)
    with raw(keyboard) as is_terminal:
        return _carry(console, keyboard, screen, DETACH if is_terminal else b"")


@contextmanager
def raw(keyboard: int) -> Iterator[bool]:
    """Pass each key on as it is typed, Ctrl-C included, and restore the terminal's mode afterwards.

    Keys that have been typed already are passed on, too.

    Yield whether the keyboard is a terminal.
    """
    before = {number: signal.signal(number, _leave) for number in _SIGNALS}
    try:
        if not os.isatty(keyboard):
            yield False
            return
        cooked = termios.tcgetattr(keyboard)
        try:
            tty.setraw(keyboard, termios.TCSADRAIN)  # by default it discards what has been typed
            yield True
        finally:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, cooked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _carry(console: socket.socket, keyboard: int, screen: int, detach: bytes) -> bool:
    """Transfer bytes without waiting for the guest to read, so that its output always appears."""
    typed = b""
    is_input_over = False
    while True:
        poll = select.poll()
        poll.register(console, select.POLLIN | (select.POLLOUT if typed else 0))
        if not typed and not is_input_over:
            poll.register(keyboard, select.POLLIN)
        events = dict(poll.poll())
        if events.get(console.fileno(), 0) & ~select.POLLOUT:
            output = _receive(console)
            if not output:
                return False
            _show(screen, output)
        if events.get(console.fileno(), 0) & select.POLLOUT:
            typed = typed[console.send(typed) :]
        if keyboard in events:
            typed = os.read(keyboard, _CHUNK)
            is_input_over = not typed
            if detach and detach in typed:
                return True


def _receive(console: socket.socket) -> bytes:
    try:
        return console.recv(_CHUNK)
    except ConnectionResetError:  # QEMU was killed
        return b""


def _show(screen: int, output: bytes) -> None:
    while output:
        output = output[os.write(screen, output) :]
