"""A fresh interpreter: for tests of what ``sys.modules`` holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.lab.wait import WAIT


def run(program: str, *options: str, path: Path | None = None) -> str:
    """Return the program's output. It runs in a network of its own, where no VM has left a record.

    :param options: the interpreter's options
    :param path: a folder to import from
    :raises subprocess.CalledProcessError: it failed
    """
    environ = {"PYTHONPATH": str(path)} if path else None
    done = subprocess.run(
        ("unshare", "--net", sys.executable, *options, "-c", program),
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=True,
        env=environ,
    )
    return done.stdout
