"""The frame of a program that the keeper runs when something changes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from vmnet import log
from vmnet.errors import VmnetError


@contextmanager
def logged() -> Iterator[None]:
    """Log as the start does, to the container's log, and report an error there once."""
    log.configure(os.environ)
    try:
        yield
    except VmnetError as error:
        log.report(error)
