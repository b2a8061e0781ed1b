"""Wait for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_INTERVAL = 0.05


def until(look: Callable[[], Found | None], seconds: float) -> Found | None:
    """Call ``look`` until it returns a true value, and return that; None after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() >= deadline:
            return None
        time.sleep(_INTERVAL)
    return found
