"""The tests' one door to child processes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any

from attrs import define, frozen

Argument = str | PathLike[str]


class CommandError(AssertionError):
    """A program failed, ran too long or could not be started: the message holds all it said."""


@frozen
class Completed:
    """What a finished program left behind."""

    argv: tuple[str, ...]
    stdout: str
    stderr: str
    returncode: int

    def json(self) -> Any:
        """Its standard output, parsed."""
        return json.loads(self.stdout)


def run(
    *argv: Argument,
    netns: str | None = None,
    timeout: float = 30,
    input: str | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
) -> Completed:
    """
    Run a program to its end.

    :param netns: the name of the network namespace to run it in.
    :param timeout: seconds after which it is killed.
    :param input: its standard input; without it, the end of file.
    :param check: raise when the exit status is not zero.
    :param env: its whole environment; without it, ours.
    """
    command = _words(argv, netns)
    try:
        done = subprocess.run(
            command,
            input=input or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=env,
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as slow:
        said = b"".join(part for part in (slow.stdout, slow.stderr) if part)
        raise CommandError(
            _report(command, f"still running after {timeout} s", said.decode(errors="replace"))
        ) from None
    except OSError as broken:
        raise CommandError(_report(command, f"could not be started: {broken}")) from None
    result = Completed(command, done.stdout, done.stderr, done.returncode)
    if check and result.returncode:
        raise CommandError(
            _report(command, f"exit status {result.returncode}", result.stdout, result.stderr)
        )
    return result


@define
class Process:
    """A program running in the background; signals go to :attr:`pid`."""

    argv: tuple[str, ...]
    pid: int
    _popen: subprocess.Popen[bytes]
    _log: IO[bytes]

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input, if it was started with ``pipe=True``."""
        assert self._popen.stdin, "this program was not started with pipe=True"
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """Its standard output, if it was started with ``pipe=True``."""
        assert self._popen.stdout, "this program was not started with pipe=True"
        return self._popen.stdout

    def output(self) -> str:
        """What it has written so far; standard error alone if it was started with ``pipe=True``."""
        # pread: the file position is shared with the program, which is still writing.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def poll(self) -> int | None:
        """Its exit status, or None while it runs; a negative status is a signal's number."""
        return self._popen.poll()

    def require_running(self) -> None:
        """Raise, with its output, if it has ended: for predicates that wait for a server."""
        if (status := self.poll()) is not None:
            raise CommandError(_report(self.argv, f"ended with status {status}", self.output()))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has already ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float = 30) -> int:
        """Await its end, at most *timeout* seconds, and return its exit status."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise CommandError(
                _report(self.argv, f"still running after {timeout} s", self.output())
            ) from None

    def stop(self, grace: float = 5) -> int:
        """End it: SIGTERM, and SIGKILL after *grace* seconds."""
        self.signal(signal.SIGTERM)
        try:
            return self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self._popen.wait(grace)


@contextmanager
def background(
    *argv: Argument,
    netns: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
    pipe: bool = False,
    terminal: int | None = None,
    grace: float = 5,
) -> Iterator[Process]:
    """
    Run a program while the context lasts, then end it.

    :param pipe: give its standard input and output to the caller, as unbuffered pipes; without
        it the input is empty and all output goes to :meth:`Process.output`.
    :param terminal: a terminal's descriptor for its standard streams, instead.
    :param grace: seconds it has to end in, once told.
    """
    command = _words(argv, netns)
    with tempfile.TemporaryFile() as log:
        streams: tuple[int | IO[bytes], int | IO[bytes], int | IO[bytes]]
        if terminal is not None:
            streams = (terminal, terminal, terminal)
        elif pipe:
            streams = (subprocess.PIPE, subprocess.PIPE, log)
        else:
            streams = (subprocess.DEVNULL, log, log)
        try:
            popen = subprocess.Popen(
                command,
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env=env,
                cwd=cwd,
                bufsize=0,
                # Ctrl-C in the terminal is for pytest, which ends this program in good order.
                start_new_session=True,
            )
        except OSError as broken:
            raise CommandError(_report(command, f"could not be started: {broken}")) from None
        # Not `with popen`: its exit waits without a bound.
        process = Process(command, popen.pid, popen, log)
        try:
            yield process
        finally:
            process.stop(grace)
            for stream in (popen.stdin, popen.stdout):
                if stream:
                    stream.close()


def _words(argv: tuple[Argument, ...], netns: str | None) -> tuple[str, ...]:
    prefix = ("ip", "netns", "exec", netns) if netns else ()
    return prefix + tuple(os.fspath(word) for word in argv)


def _report(argv: tuple[str, ...], outcome: str, *said: str) -> str:
    lines = [f"{shlex.join(argv)}: {outcome}", *(text.rstrip() for text in said)]
    return "\n".join(line for line in lines if line)
