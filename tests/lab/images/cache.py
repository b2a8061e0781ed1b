"""Keep files that take minutes to make between runs."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..progress import step


def cache() -> Path:
    """Return the folder that keeps files between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home, "vmnet-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cached(name: str, what: str, make: Callable[[Path], None]) -> Path:
    """Return a file or folder of the cache by name, and make it if it is missing.

    :param what: the description of the step
    :param make: writes the file or folder to a path that does not exist yet
    """
    folder = cache()
    path = folder / name
    # Tests that run in parallel make it only once.
    with Path(folder, f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for left in folder.glob(f"{glob.escape(name)}.*.part"):  # by a killed run
                shutil.rmtree(left, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=".part", dir=folder))
            try:
                with step(what):
                    make(work / "made")
                # Renamed when it is complete, so that a killed run leaves no partial result.
                (work / "made").rename(path)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return path
