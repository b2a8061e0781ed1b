"""What a start would log, as findings of a check."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from vmnet import events
from vmnet.terminal.findings import Finding


class Logged(logging.Handler):
    """A handler that keeps each line for the findings. It passes on lines of the level debug."""

    def __init__(self, before: Iterable[logging.Handler], level: int) -> None:
        super().__init__()
        self._before = tuple(before)
        self._level_before = level
        self._kept: list[logging.LogRecord] = []
        self._seen: set[Finding] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.INFO:
            self._kept.append(record)
        elif record.levelno >= self._level_before:
            for handler in self._before:
                handler.handle(record)

    def among(self, findings: Iterable[Finding], covered: Collection[str]) -> Iterator[Finding]:
        """Yield the findings, and before each what was logged meanwhile, without repetitions.

        :param covered: events that the findings contain already
        """
        for finding in findings:
            yield from self._new(covered)
            yield finding
        yield from self._new(covered)

    def _new(self, covered: Collection[str]) -> Iterator[Finding]:
        kept, self._kept = self._kept, []
        for record in kept:
            finding = _finding(record)
            if _event(record) not in covered and finding not in self._seen:
                self._seen.add(finding)
                yield finding


def _finding(record: logging.LogRecord) -> Finding:
    result = "ok" if record.levelno < logging.WARNING else "warning"
    hint: str = getattr(record, "hint", "")
    return Finding(_event(record).partition(".")[0], result, record.getMessage(), hint)


def _event(record: logging.LogRecord) -> str:
    event: str = getattr(record, "event", events.OTHER)
    return event


@contextmanager
def logged() -> Iterator[Logged]:
    """Collect the log's lines instead of printing them, whatever VMNET_LOG_LEVEL says."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    handler = Logged(handlers, level)
    root.handlers = [handler]
    root.setLevel(min(level, logging.INFO))
    try:
        yield handler
    finally:
        root.handlers = handlers
        root.setLevel(level)
