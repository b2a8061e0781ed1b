"""Run child processes. All tests start programs with this module."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from typing import IO, Any

from attrs import define, frozen

from .wait import WAIT

Argument = str | PathLike[str]


class CommandError(AssertionError):
    """A program failed, ran too long or could not be started. The message contains its output."""


@frozen
class Completed:
    """The output and exit status of a program that has ended."""

    argv: tuple[str, ...]
    stdout: str
    stderr: str
    returncode: int

    def json(self) -> Any:
        """Return the parsed standard output."""
        return json.loads(self.stdout)


def run(
    *argv: Argument,
    netns: str | None = None,
    timeout: float = WAIT,
    input: str | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
) -> Completed:
    """
    Run a program to its end.

    :param netns: the name of the network namespace to run it in.
    :param timeout: seconds after which the program is killed.
    :param input: the program's standard input, by default empty.
    :param check: raise if the exit status is not zero.
    :param env: the program's whole environment, by default the caller's.
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
    except subprocess.TimeoutExpired as expired:
        output = b"".join(part for part in (expired.stdout, expired.stderr) if part)
        raise CommandError(
            _report(command, f"still running after {timeout} s", output.decode(errors="replace"))
        ) from None
    except OSError as error:
        raise CommandError(_report(command, f"could not be started: {error}")) from None
    result = Completed(command, done.stdout, done.stderr, done.returncode)
    if check and result.returncode:
        raise CommandError(
            _report(command, f"exit status {result.returncode}", result.stdout, result.stderr)
        )
    return result


@define
class Process:
    """A program in the background. Signals go to :attr:`pid`."""

    argv: tuple[str, ...]
    pid: int
    _popen: subprocess.Popen[bytes]
    _logs: tuple[IO[bytes], ...]

    @property
    def stdin(self) -> IO[bytes]:
        """The program's standard input, if it was started with ``pipe=True``."""
        assert self._popen.stdin, "this program was not started with pipe=True"
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The program's standard output, if it was started with ``pipe=True``."""
        assert self._popen.stdout, "this program was not started with pipe=True"
        return self._popen.stdout

    def output(self) -> str:
        """Return the output so far.

        It is only standard error if the program was started with ``pipe=True``, and standard error
        follows the whole standard output with ``apart=True``.
        """
        return "".join(map(_content, self._logs))

    def poll(self) -> int | None:
        """Return the exit status, or None while the program runs. -9 stands for signal 9."""
        return self._popen.poll()

    def require_running(self) -> None:
        """Raise an error with the output if the program has ended, while a test waits for it."""
        if (status := self.poll()) is not None:
            raise CommandError(_report(self.argv, f"ended with status {status}", self.output()))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            # A program that unshare runs may have ended before unshare, whose status poll() reads.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout: float = WAIT) -> int:
        """Wait at most *timeout* seconds for the program to end, and return its exit status."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise CommandError(
                _report(self.argv, f"still running after {timeout} s", self.output())
            ) from None

    def stop(self, grace: float = 5) -> int:
        """End the program with SIGTERM, or with SIGKILL after *grace* seconds."""
        self.signal(signal.SIGTERM)
        try:
            return self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self._popen.wait(WAIT)


@contextmanager
def background(
    *argv: Argument,
    netns: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
    pipe: bool = False,
    apart: bool = False,
    terminal: int | None = None,
    grace: float = 5,
) -> Iterator[Process]:
    """
    Run a program until the context exits, then end the program.

    :param pipe: connect its standard input and output to the caller by unbuffered pipes. By
        default, the input is empty and all output goes to :meth:`Process.output`.
    :param apart: collect standard error apart from standard output. Otherwise a line of one may
        begin within a line of the other, which QEMU writes byte by byte.
    :param terminal: descriptor of a terminal for all standard streams.
    :param grace: seconds between SIGTERM and SIGKILL.
    """
    command = _words(argv, netns)
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as errors:
        streams: tuple[int | IO[bytes], int | IO[bytes], int | IO[bytes]]
        if terminal is not None:
            streams = (terminal, terminal, terminal)
        elif pipe:
            streams = (subprocess.PIPE, subprocess.PIPE, log)
        else:
            streams = (subprocess.DEVNULL, log, errors if apart else log)
        try:
            popen = subprocess.Popen(
                command,
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env=env,
                cwd=cwd,
                bufsize=0,
                # Ctrl-C in the terminal must reach only pytest, which then ends this program.
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(_report(command, f"could not be started: {error}")) from None
        # Not `with popen`, because its exit may wait forever.
        process = Process(command, popen.pid, popen, (log, errors))
        try:
            yield process
        finally:
            process.stop(grace)
            for stream in (popen.stdin, popen.stdout):
                if stream:
                    stream.close()


def _content(log: IO[bytes]) -> str:
    # pread, because the program shares the file position and is still writing.
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), size, 0).decode(errors="replace")


def _words(argv: tuple[Argument, ...], netns: str | None) -> tuple[str, ...]:
    prefix = ("ip", "netns", "exec", netns) if netns else ()
    return prefix + tuple(os.fspath(word) for word in argv)


def _report(argv: tuple[str, ...], outcome: str, *outputs: str) -> str:
    lines = [f"{shlex.join(argv)}: {outcome}", *(output.rstrip() for output in outputs)]
    return "\n".join(line for line in lines if line)
