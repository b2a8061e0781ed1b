"""Report the progress of slow steps."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

DELAY = 2.0
"""Seconds before a step is reported."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Report a step that takes longer than ``DELAY``, and its duration, on standard error."""
    started = time.monotonic()
    timer = threading.Timer(DELAY, _report, (f"{what} …",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if (seconds := time.monotonic() - started) > DELAY:
            _report(f"{what}: {seconds:.0f} s")


def _report(line: str) -> None:
    print(f"lab: {line}", file=sys.stderr, flush=True)
