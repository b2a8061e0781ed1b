"""Call a plugin's code: bounded in time, its output told apart, its faults told as its own."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeVar

from vmnet.discovery import Plugin
from vmnet.errors import PluginError, VmnetError

Result = TypeVar("Result")

# Whatever swallows the first alarm hears another one a second later, and so on.
_AGAIN_SECONDS = 1.0
_STREAMS = (0, 1, 2)
_log = logging.getLogger(__name__)


class OverdueError(BaseException):
    """Raised in the middle of a plugin that takes too long.

    No Exception, so that a plugin's ``except Exception`` around its own retries lets it pass.
    """


def call(plugin: Plugin, fault: str, function: Callable[[], Result], seconds: float) -> Result:
    """What ``function`` answers; SIGALRM interrupts it after so many seconds.

    :param fault: what the plugin is said to have done if it fails: "failed in vmnet_capture"
    :raises PluginError: it raised what is not of the family, took too long or closed our streams
    """
    with faults(plugin, fault):
        try:
            with _streams(plugin), _alarm(seconds):
                return function()
        except OverdueError as overdue:
            raise PluginError(
                f"plugin {plugin} {fault}: it did not return within {seconds:g} s",
                "VMNET_LOG_LEVEL=debug shows where it was; VMNET_HOOK_TIMEOUT gives plugins longer",
            ) from overdue


@contextmanager
def faults(plugin: Plugin, fault: str) -> Iterator[None]:
    """Whatever is raised and not of the family is the plugin's fault; Ctrl-C is nobody's."""
    try:
        yield
    except (VmnetError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, asyncio's CancelledError
        raise PluginError(
            f"plugin {plugin} {fault}: {type(error).__name__}: {error}",
            "this is an error of the plugin; VMNET_LOG_LEVEL=debug shows where",
        ) from error


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """The timer goes before the handler does: a late alarm would end the process."""
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # if the alarm rang within the other one
        signal.signal(signal.SIGALRM, before)


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise OverdueError


@contextmanager
def _streams(plugin: Plugin) -> Iterator[None]:
    """What the plugin prints is logged: standard output belongs to the command. None is closed."""
    ours, printed = sys.stdout, _Printed(plugin)
    kept = dict(_duplicates())
    sys.stdout = printed
    try:
        yield
    finally:
        sys.stdout = ours
        printed.end()
        closed = [stream for stream, copy in kept.items() if _reopened(stream, copy)]
    if closed:
        raise PluginError(
            f"plugin {plugin} closed the descriptor {closed[0]}, which is not its own",
            "a plugin closes what it has opened, and nothing else",
        )


def _duplicates() -> Iterator[tuple[int, int]]:
    for stream in _STREAMS:
        with suppress(OSError):  # an engine may have closed it
            yield stream, os.dup(stream)


def _reopened(stream: int, copy: int) -> bool:
    """Put a closed stream back, and close the copy; whether it was closed."""
    try:
        os.fstat(stream)
    except OSError:
        with suppress(OSError):  # the plugin has closed the copy as well
            os.dup2(copy, stream)
        was_closed = True
    else:
        was_closed = False
    with suppress(OSError):
        os.close(copy)
    return was_closed


class _Printed(io.TextIOBase):
    """Standard output while a plugin runs."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _log.warning("plugin %s prints: %s", self._plugin, line)
        return len(text)

    def end(self) -> None:
        """Log what has no end of line yet."""
        if self._line:
            self.write("\n")
