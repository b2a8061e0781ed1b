"""Logging for the programs that the keeper runs when something changes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from vmnet import log
from vmnet.errors import VmnetError


@contextmanager
def logged() -> Iterator[None]:
    """Log to the container's log as the start does, and report a vmnet error there."""
    log.configure(os.environ)
    try:
        yield
    except VmnetError as error:
        log.report(error, "watch.failed")
