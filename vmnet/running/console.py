"""Attach to the serial console: bytes to and fro, until somebody leaves."""

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

DETACH = b"\x1d"  # Ctrl-], as with telnet and virsh; docker's own Ctrl-P is for the shell

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_CHUNK = 4096


class Interrupted(Exception):  # noqa: N818 - not an error: somebody wants us to leave
    """A signal ends the session.

    :param number: of the signal
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def attach(console: socket.socket, keyboard: int, screen: int) -> bool:
    """Carry bytes until the console ends, or the person at the keyboard detaches.

    What comes from a pipe goes as it is, and its end leaves the screen on.

    :return: whether the person has detached
    :raises Interrupted: a signal came; the terminal is as it was
    """
    console.setblocking(False)
    with raw(keyboard) as is_terminal:
        return _carry(console, keyboard, screen, DETACH if is_terminal else b"")


@contextmanager
def raw(keyboard: int) -> Iterator[bool]:
    """Have a terminal hand over each key as it is typed, Ctrl-C too; and have it as it was, after.

    Answers whether it is a terminal.
    """
    before = {number: signal.signal(number, _leave) for number in _SIGNALS}
    try:
        if not os.isatty(keyboard):
            yield False
            return
        cooked = termios.tcgetattr(keyboard)
        try:
            tty.setraw(keyboard)
            yield True
        finally:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, cooked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _carry(console: socket.socket, keyboard: int, screen: int, detach: bytes) -> bool:
    """Never waits to write to the guest, which may not read, and so shows what it says."""
    typed = b""
    keys_end = False
    while True:
        poll = select.poll()
        poll.register(console, select.POLLIN | (select.POLLOUT if typed else 0))
        if not typed and not keys_end:
            poll.register(keyboard, select.POLLIN)
        events = dict(poll.poll())
        if events.get(console.fileno(), 0) & ~select.POLLOUT:
            said = _receive(console)
            if not said:
                return False
            _show(screen, said)
        if events.get(console.fileno(), 0) & select.POLLOUT:
            typed = typed[console.send(typed) :]
        if keyboard in events:
            typed = os.read(keyboard, _CHUNK)
            keys_end = not typed
            if detach and detach in typed:
                return True


def _receive(console: socket.socket) -> bytes:
    try:
        return console.recv(_CHUNK)
    except ConnectionResetError:  # QEMU was killed
        return b""


def _show(screen: int, said: bytes) -> None:
    while said:
        said = said[os.write(screen, said) :]
