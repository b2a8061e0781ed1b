"""Call a plugin's code with a time limit, log its output, and attribute its faults to it."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn, TypeVar

from vmnet.errors import PluginError, VmnetError
from vmnet.hooks.discovery import Plugin

Result = TypeVar("Result")

# The alarm repeats, in case the plugin swallows the first exception.
_REPEAT_SECONDS = 1.0
_STANDARD_STREAMS = (0, 1, 2)
_log = logging.getLogger(__name__)


class OverdueError(BaseException):
    """Raised inside a plugin that exceeds its time limit.

    It is not an Exception, so a plugin's ``except Exception`` around retries does not catch it.
    """


def call(plugin: Plugin, fault: str, function: Callable[[], Result], seconds: float) -> Result:
    """Return the result of ``function``; interrupt it with SIGALRM after ``seconds``.

    :param fault: describes a failure in the error message, such as "failed in vmnet_capture"
    :raises VmnetError: raised by the plugin itself
    :raises PluginError: the plugin raised any other exception, took too long, or closed a standard
        stream
    """
    with faults(plugin, fault):
        try:
            with _protected_streams(plugin), _no_exit(), _alarm(seconds):
                return function()
        except OverdueError as overdue:
            raise PluginError(
                f"plugin {plugin} {fault}: it did not return within {seconds:g} s",
                "VMNET_LOG_LEVEL=debug shows where it was; VMNET_HOOK_TIMEOUT extends the limit",
            ) from overdue


def call_unlimited(plugin: Plugin, fault: str, function: Callable[[], Result]) -> Result:
    """Return the result of ``function``, which may execute another program instead."""
    with faults(plugin, fault), _no_exit():
        return function()


@contextmanager
def faults(plugin: Plugin, fault: str) -> Iterator[None]:
    """Convert exceptions to PluginError, except VmnetError and KeyboardInterrupt."""
    try:
        yield
    except (VmnetError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, asyncio's CancelledError
        raise PluginError(
            f"plugin {plugin} {fault}: {type(error).__name__}: {error}",
            "this is a bug in the plugin; VMNET_LOG_LEVEL=debug shows where",
        ) from error


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Stop the timer before restoring the handler: a late alarm would end the process."""
    before = signal.signal(signal.SIGALRM, _raise_overdue)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _REPEAT_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        # Again, if an alarm interrupted the call above.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_overdue(_number: int, _frame: FrameType | None) -> None:
    raise OverdueError


@contextmanager
def _no_exit() -> Iterator[None]:
    """Turn ``os._exit`` into an error, since exit status 0 means that the guest powered off.

    Children of this process may still call it.
    """
    pid, exit_now = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        if os.getpid() != pid:
            exit_now(status)
        raise SystemExit(f"os._exit({status})")

    setattr(os, "_exit", refuse)  # noqa: B010 - mypy forbids an assignment
    try:
        yield
    finally:
        setattr(os, "_exit", exit_now)  # noqa: B010


@contextmanager
def _protected_streams(plugin: Plugin) -> Iterator[None]:
    """Log what the plugin prints, since stdout belongs to the command, and reopen closed streams.

    :raises PluginError: the plugin closed a standard stream
    """
    stdout, plugin_stdout = sys.stdout, _LoggedOutput(plugin)
    copies = dict(_duplicates())
    sys.stdout = plugin_stdout
    try:
        yield
    finally:
        sys.stdout = stdout
        plugin_stdout.end()
        closed = [stream for stream, copy in copies.items() if _reopen(stream, copy)]
    if closed:
        raise PluginError(
            f"plugin {plugin} closed file descriptor {closed[0]}, which it did not open",
            "a plugin must close only the descriptors that it has opened",
        )


def _duplicates() -> Iterator[tuple[int, int]]:
    for stream in _STANDARD_STREAMS:
        with suppress(OSError):  # an engine may have closed the stream
            yield stream, os.dup(stream)


def _reopen(stream: int, copy: int) -> bool:
    """Restore a closed stream, close the copy, and return whether the stream was closed."""
    try:
        os.fstat(stream)
    except OSError:
        with suppress(OSError):  # the plugin may have closed the copy as well
            os.dup2(copy, stream)
        was_closed = True
    else:
        was_closed = False
    with suppress(OSError):
        os.close(copy)
    return was_closed


class _LoggedOutput(io.TextIOBase):
    """Standard output while a plugin runs; logs each line."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _log.warning(
                "plugin %s printed: %s", self._plugin, line, extra={"event": "plugin.printed"}
            )
        return len(text)

    def end(self) -> None:
        """Log an unfinished last line."""
        if self._line:
            self.write("\n")
