"""What the console's input is, in the container."""

from __future__ import annotations

import os
import stat
import sys


def is_lasting() -> bool:
    """Whether standard input is a terminal, or there is none (``/dev/null``): not a pipe or file.

    QEMU's hub of consoles takes one whose input has ended for closed, and then shows nothing there
    any more. :func:`vmnet.lifecycle.become.become` sees to the end of ``/dev/null``; that of a pipe
    is not ours to hide.
    """
    return stat.S_ISCHR(os.fstat(sys.__stdin__.fileno()).st_mode) if sys.__stdin__ else True
