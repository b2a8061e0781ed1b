"""Run a program as root without capabilities, or with few.

The keeper, which has capabilities, starts the guard through this program. The exec replaces it, so
ctypes, which it needs for prctl(2), does not stay in memory.
"""

from __future__ import annotations

import ctypes
import os

_PR_CAPBSET_DROP = 24  # prctl(2)
_CAPABILITIES = 64  # more than any kernel has; it refuses unknown numbers


def main(kept: str, *argv: str) -> None:
    """Reduce the bounding set and execute a program. Without SETPCAP the set stays as it is.

    :param kept: the numbers of the capabilities to keep, separated by commas
    """
    libc = ctypes.CDLL(None)
    numbers = [int(number) for number in kept.split(",") if number]
    for capability in range(_CAPABILITIES):
        if capability in numbers:
            continue
        libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    os.execv(argv[0], argv)
