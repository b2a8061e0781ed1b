"""The memory and the CPU time of processes."""

from __future__ import annotations

import os
from pathlib import Path

from vmnet.model.base import frozen

_HERTZ = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@frozen
class Usage:
    """What a process uses.

    :param memory: its resident memory in bytes, with shared pages
    :param cpu: its CPU time in seconds
    """

    memory: int
    cpu: float


def usage(pid: int) -> Usage | None:
    """Return what a process uses, or None if it has ended (proc_pid_stat(5)).

    Any user may read this. The proportional set size needs the privilege to trace the process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # from the third field on
    state, user, system, pages = fields[0], *map(int, (fields[11], fields[12], fields[21]))
    return None if state in "ZX" else Usage(pages * _PAGE_BYTES, (user + system) / _HERTZ)
