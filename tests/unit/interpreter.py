"""A fresh interpreter: for tests of what ``sys.modules`` holds."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> str:
    """What it prints.

    :raises subprocess.CalledProcessError: it failed
    """
    done = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout
