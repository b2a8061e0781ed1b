"""vmnet as a user has it: a wheel of this checkout in a virtual environment, byte-compiled."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import venv
from pathlib import Path

from tests.lab.command import run
from tests.lab.progress import step

_CHECKOUT = Path(__file__).parent.parent
_SOURCES = ("pyproject.toml", "vmnet", "plugins")


def add_option(parser: argparse.ArgumentParser) -> None:
    """``--python``, which every benchmark takes."""
    parser.add_argument(
        "--python",
        type=Path,
        metavar="PATH",
        help="an interpreter that has vmnet installed; a fresh wheel of this checkout unless given",
    )


def python() -> Path:
    """The interpreter that has vmnet; the ``vmnet`` command is beside it.

    Made in a cache folder, again whenever a source has changed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "vmnet" / f"bench-{sys.version_info.major}.{sys.version_info.minor}"
    interpreter, stamp = folder / "bin" / "python", folder / "stamp"
    wanted = _fingerprint()
    if not (stamp.exists() and stamp.read_text() == wanted):
        with step("installing vmnet from this checkout"):
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            run(interpreter, "-m", "pip", "install", "--quiet", _CHECKOUT, timeout=600)
            stamp.write_text(wanted)
    return interpreter


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name in _SOURCES:
        root = _CHECKOUT / name
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()
