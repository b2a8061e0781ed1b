"""Wait for a condition, never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_INTERVAL = 0.05


def until(look: Callable[[], Found | None], seconds: float) -> Found | None:
    """What ``look`` answers as soon as that is true; None where it is not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() >= deadline:
            return None
        time.sleep(_INTERVAL)
    return found
