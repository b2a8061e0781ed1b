"""Inspect standard input, the console's input in the container."""

from __future__ import annotations

import os
import stat
import sys


def is_lasting() -> bool:
    """Return whether standard input is a terminal or ``/dev/null``, not a pipe or file.

    When the input of a console ends, QEMU's console hub takes this console for closed, and no
    longer writes to it. :func:`vmnet.lifecycle.become.become` replaces ``/dev/null`` with an input
    that never ends. It must not hide the end of a pipe or file.
    """
    return stat.S_ISCHR(os.fstat(sys.__stdin__.fileno()).st_mode) if sys.__stdin__ else True
