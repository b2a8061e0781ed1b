"""Find out whether `vmnet snapshot` or `vmnet stop --save` keeps the guest paused."""

from __future__ import annotations

import os

LOCK = "snapshot.lock"
SAVED = "saved.json"
"""The record of a saved VM, which its start removes."""


def is_intended(run_dir: object) -> bool:
    """Return whether the guard must leave a paused guest as it is.

    Either a program has the lock, and resumes the guest itself, or the VM is saved and QEMU quits.
    """
    return is_locked(run_dir) or os.access(f"{run_dir}/{SAVED}", os.F_OK)


def is_locked(run_dir: object) -> bool:
    """Return whether a program has the lock."""
    import fcntl  # the guard, which stays in memory, rarely needs it

    try:
        file = os.open(f"{run_dir}/{LOCK}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
