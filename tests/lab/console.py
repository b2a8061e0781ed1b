"""A serial console in a test's hands: what to wait for, what to type, and all that was said."""

from __future__ import annotations

import os
import re
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .command import Argument, Process, background
from .wait import until


class ConsoleError(AssertionError):
    """The console did not say what was expected: the message holds its whole transcript."""


class Console:
    """
    Reads a console in the background, so that whoever writes to it never has to wait for a test.

    Text is decoded as UTF-8, carriage returns are dropped.
    """

    def __init__(self, reader: int, writer: int, more: Callable[[], str] | None = None) -> None:
        """:param more: tells more for a failure, such as the log of the program behind it."""
        self._reader, self._writer, self._more = reader, writer, more
        self._said = b""
        self._seen = 0  # characters of the transcript that expect() has consumed
        self._ended = False
        self._news = threading.Condition()
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._read, name="console", daemon=True)
        self._thread.start()

    @property
    def transcript(self) -> str:
        """All that the console has said so far."""
        return self._said.decode(errors="replace").replace("\r", "")

    def expect(self, pattern: str, timeout: float = 30) -> re.Match[str]:
        """
        Wait for a regular expression in what the console says after the last match.

        ``^`` and ``$`` match at lines. Fails after *timeout* seconds, or at once when the console
        has closed.
        """
        wanted = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                if match := wanted.search(self.transcript, self._seen):
                    self._seen = match.end()
                    return match
                left = deadline - time.monotonic()
                if self._ended:
                    raise self._failure(f"the console closed before it said {pattern!r}")
                if left <= 0:
                    raise self._failure(f"waited {timeout:g} s for {pattern!r}, in vain")
                self._news.wait(left)

    def send(self, text: str) -> None:
        """Type *text*, as it is."""
        rest = text.encode()
        while rest:
            try:
                rest = rest[os.write(self._writer, rest) :]
            except OSError as broken:
                raise self._failure(f"could not type {text!r}: {broken}") from None

    def send_line(self, text: str = "") -> None:
        """Type *text* and Enter."""
        self.send(f"{text}\n")

    def command(self, text: str, prompt: str = r"^.*[#$] $", timeout: float = 30) -> str:
        """Run a shell command at a prompt and return what it printed."""
        self.send_line(text)
        start = self.expect(re.escape(text) + r"\n", timeout).end()
        end = self.expect(prompt, timeout).start()
        return self.transcript[start:end]

    def close(self) -> None:
        """Stop reading. The descriptors are their opener's to close."""
        os.close(self._woken)
        self._thread.join()
        os.close(self._wake)

    def _read(self) -> None:
        data = b"more"
        while data:
            ready, _, _ = select.select([self._reader, self._wake], [], [])
            if self._wake in ready:
                break
            try:
                data = os.read(self._reader, 65536)
            except OSError:  # a pty whose other side has closed says EIO, not end of file
                data = b""
            with self._news:
                self._said += data
                self._ended = not data
                self._news.notify_all()

    def _failure(self, what: str) -> ConsoleError:
        more = f"\n--- more ---\n{self._more()}" if self._more else ""
        return ConsoleError(f"{what}\n--- console ---\n{self.transcript}{more}")


@contextmanager
def on_socket(
    path: Path, timeout: float = 10, more: Callable[[], str] | None = None
) -> Iterator[Console]:
    """A console behind a Unix socket, which may not listen yet (QEMU's ``-serial unix:``)."""
    with ExitStack() as stack:
        channel = stack.enter_context(socket.socket(socket.AF_UNIX))

        def connected() -> bool:
            try:
                channel.connect(os.fspath(path))
            except OSError:
                return False
            return True

        until(connected, timeout, f"someone to listen on {path}", detail=more)
        yield stack.enter_context(_console(channel.fileno(), channel.fileno(), more))


@contextmanager
def on_terminal(path: Path, more: Callable[[], str] | None = None) -> Iterator[Console]:
    """A console behind a terminal device (QEMU's ``-serial pty``)."""
    terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(terminal)
        with _console(terminal, terminal, more) as console:
            yield console
    finally:
        os.close(terminal)


@contextmanager
def on_process(process: Process) -> Iterator[Console]:
    """The standard streams of a program started with ``pipe=True`` (QEMU's ``-nographic``)."""
    reader, writer = process.stdout.fileno(), process.stdin.fileno()
    with _console(reader, writer, process.output) as console:
        yield console


@contextmanager
def on_pty(*argv: Argument, env: Mapping[str, str] | None = None) -> Iterator[Console]:
    """A program that wants a terminal, on one of its own (``docker attach``, ``vmnet console``)."""
    ours, theirs = os.openpty()
    try:
        with background(*argv, env=env, terminal=theirs), _console(ours, ours, None) as console:
            yield console
    finally:
        os.close(ours)
        os.close(theirs)


@contextmanager
def _console(reader: int, writer: int, more: Callable[[], str] | None) -> Iterator[Console]:
    console = Console(reader, writer, more)
    try:
        yield console
    finally:
        console.close()
