"""Closing a tap leaves the descriptors of other files alone."""

from __future__ import annotations

import os
import resource

from vmnet.net import tap


def test_only_taps_are_closed() -> None:
    """After a start that was killed, the numbers come from its saved state."""
    ends = os.pipe()
    _, beyond = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        tap.close_tap((*ends, beyond))
    finally:
        for end in ends:
            os.close(end)
