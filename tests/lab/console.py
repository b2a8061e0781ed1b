"""Control a serial console from a test: wait for output, type, and read the transcript."""

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
from .wait import WAIT, until


class ConsoleError(AssertionError):
    """The expected output did not appear. The message contains the whole transcript."""


class Console:
    """
    A console that a thread reads, so that a program that writes to it never has to wait.

    Text is decoded as UTF-8. Carriage returns are dropped.
    """

    def __init__(self, reader: int, writer: int, more: Callable[[], str] | None = None) -> None:
        """:param more: returns details for a failure, such as the log of the program."""
        self._reader, self._writer, self._more = reader, writer, more
        self._output = b""
        self._consumed = 0  # characters of the transcript that expect() has consumed
        self._ended = False
        self._changed = threading.Condition()
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(target=self._read, name="console", daemon=True)
        self._thread.start()

    @property
    def transcript(self) -> str:
        """The whole output of the console so far."""
        return self._output.decode(errors="replace").replace("\r", "")

    def expect(self, pattern: str, timeout: float = WAIT) -> re.Match[str]:
        """
        Wait until the output after the last match contains a regular expression.

        ``^`` and ``$`` match at lines. Fail after *timeout* seconds, or as soon as the console
        closes.
        """
        expected = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                if match := expected.search(self.transcript, self._consumed):
                    self._consumed = match.end()
                    return match
                left = deadline - time.monotonic()
                if self._ended:
                    raise self._failure(f"the console closed before {pattern!r} appeared")
                if left <= 0:
                    raise self._failure(f"{pattern!r} did not appear within {timeout:g} s")
                self._changed.wait(left)

    def send(self, text: str) -> None:
        """Type *text* without Enter."""
        rest = text.encode()
        while rest:
            try:
                rest = rest[os.write(self._writer, rest) :]
            except OSError as error:
                raise self._failure(f"could not type {text!r}: {error}") from None

    def send_line(self, text: str = "") -> None:
        """Type *text* and Enter."""
        self.send(f"{text}\n")

    def command(self, text: str, prompt: str = r"^.*[#$] $", timeout: float = WAIT) -> str:
        """Run a shell command at a prompt and return its output."""
        self.send_line(text)
        start = self.expect(re.escape(text) + r"\n", timeout).end()
        end = self.expect(prompt, timeout).start()
        return self.transcript[start:end]

    def close(self) -> None:
        """Stop reading. The caller closes the descriptors that it passed."""
        os.close(self._stop_writer)
        self._thread.join()
        os.close(self._stop_reader)

    def _read(self) -> None:
        ended = False
        while not ended:
            ready, _, _ = select.select([self._reader, self._stop_reader], [], [])
            if self._stop_reader in ready:
                break
            try:
                data = os.read(self._reader, 65536)
            except OSError:  # a pty whose other side has closed reports EIO, not end of file
                data = b""
            ended = not data
            with self._changed:
                self._output += data
                self._ended = ended
                self._changed.notify_all()

    def _failure(self, problem: str) -> ConsoleError:
        more = f"\n--- more ---\n{self._more()}" if self._more else ""
        return ConsoleError(f"{problem}\n--- console ---\n{self.transcript}{more}")


@contextmanager
def on_socket(
    path: Path, timeout: float = WAIT, more: Callable[[], str] | None = None
) -> Iterator[Console]:
    """Open a console on a Unix socket (QEMU's ``-serial unix:``), which may not listen yet."""
    with ExitStack() as stack:
        channel = stack.enter_context(socket.socket(socket.AF_UNIX))

        def connected() -> bool:
            try:
                channel.connect(os.fspath(path))
            except OSError:
                return False
            return True

        until(connected, timeout, f"a program to listen on {path}", detail=more)
        yield stack.enter_context(_console(channel.fileno(), channel.fileno(), more))


@contextmanager
def on_terminal(path: Path, more: Callable[[], str] | None = None) -> Iterator[Console]:
    """Open a console on a terminal device (QEMU's ``-serial pty``)."""
    terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(terminal)
        with _console(terminal, terminal, more) as console:
            yield console
    finally:
        os.close(terminal)


@contextmanager
def on_process(process: Process) -> Iterator[Console]:
    """Open a console on the streams of a program with ``pipe=True`` (QEMU's ``-nographic``)."""
    reader, writer = process.stdout.fileno(), process.stdin.fileno()
    with _console(reader, writer, process.output) as console:
        yield console


@contextmanager
def on_pty(*argv: Argument, env: Mapping[str, str] | None = None) -> Iterator[Console]:
    """Run a program that needs a terminal (``docker attach``, ``vmnet console``) on a new one."""
    controller, terminal = os.openpty()
    try:
        with (
            background(*argv, env=env, terminal=terminal),
            _console(controller, controller, None) as console,
        ):
            yield console
    finally:
        os.close(controller)
        os.close(terminal)


@contextmanager
def _console(reader: int, writer: int, more: Callable[[], str] | None) -> Iterator[Console]:
    console = Console(reader, writer, more)
    try:
        yield console
    finally:
        console.close()
