"""Run `vmnet precompile` with a file of the test instead of the file of the vmnet under test."""

from __future__ import annotations

import sys
from os import PathLike

_PROGRAM = (
    "import sys; from vmnet.imports import precompiled; precompiled.PATH = sys.argv[1]; "
    "sys.argv = ['vmnet', 'precompile']; from vmnet.__main__ import main; main()"
)


def command(file: PathLike[str]) -> tuple[str, ...]:
    """Return the command line that writes ``file``."""
    return sys.executable, "-c", _PROGRAM, str(file)
