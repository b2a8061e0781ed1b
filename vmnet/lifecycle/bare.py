"""Become another program that holds no capability: a root without any in its bounding set.

The keeper, which has some, starts the guard through this. It is gone with its exec, and with it
ctypes, which posix has no prctl(2) without.
"""

from __future__ import annotations

import ctypes
import os

_PR_CAPBSET_DROP = 24  # prctl(2)
_CAPABILITIES = 64  # there can be; the kernel refuses those that it has not


def main(*argv: str) -> None:
    """Drop all and execute; without SETPCAP nothing can be dropped."""
    libc = ctypes.CDLL(None)
    for capability in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    os.execv(argv[0], argv)
