"""A sign of life from steps that take long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 2.0
"""Seconds of silence."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say on standard error what is being done if it takes more than two seconds, and how long."""
    started = time.monotonic()
    timer = threading.Timer(PATIENCE, _say, (f"{what} …",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if (seconds := time.monotonic() - started) > PATIENCE:
            _say(f"{what}: {seconds:.0f} s")


def _say(line: str) -> None:
    print(f"lab: {line}", file=sys.stderr, flush=True)
