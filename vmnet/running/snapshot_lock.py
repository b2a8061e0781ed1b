"""The lock of `vmnet snapshot` while the guest may be paused, which `vmnet health` looks at."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmnet.errors import GuestError
from vmnet.supervision import intended_pause


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep the lock during the context.

    :raises GuestError: another program has it
    """
    with (run_dir / intended_pause.LOCK).open("w") as file:
        try:
            # Fails only if another program has the lock: is_locked() shares it, for a moment.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GuestError(
                "another `vmnet snapshot` is at work on this VM", "try again when it is done"
            ) from None
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_locked(run_dir: Path) -> bool:
    """Return whether a program has the lock."""
    return intended_pause.is_locked(run_dir)
