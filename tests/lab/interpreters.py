"""Find the Python interpreters on which a release must work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .command import CommandError, run

_SHOW = "import sys; print('%d.%d' % sys.version_info[:2])"


def interpreter(version: str) -> Path:
    """Return the path of an interpreter of this version, such as ``3.12``.

    No release of Debian or Ubuntu has all versions. In CI, a missing version is a failure.
    Elsewhere the test is skipped, and the summary names the version.
    """
    for path in _candidates(version):
        if _version(path) == version:
            return path
    reason = f"this machine has no Python {version}, neither on PATH nor from pyenv"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _candidates(version: str) -> Iterator[Path]:
    for name in (f"python{version}", "python3"):
        if found := shutil.which(name):
            yield Path(found)
    yield Path("/usr/bin/python3")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"))


def _version(path: Path) -> str | None:
    """Return the version, or None for a wrapper whose interpreter is not installed."""
    try:
        return run(path, "-c", _SHOW).stdout.strip()
    except CommandError:
        return None
