"""Run a program as root without capabilities.

The keeper, which has capabilities, starts the guard through this program. The exec replaces it, so
ctypes, which it needs for prctl(2), does not stay in memory.
"""

from __future__ import annotations

import ctypes
import os

_PR_CAPBSET_DROP = 24  # prctl(2)
_CAPABILITIES = 64  # more than any kernel has; it refuses unknown numbers


def main(*argv: str) -> None:
    """Empty the bounding set and execute a program. Without SETPCAP the set stays as it is."""
    libc = ctypes.CDLL(None)
    for capability in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    os.execv(argv[0], argv)
