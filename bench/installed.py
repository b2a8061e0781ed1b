"""Install vmnet as the image does: a wheel of this checkout in a virtual environment, compiled."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from pathlib import Path

from tests.lab.command import run
from tests.lab.progress import step

_CHECKOUT = Path(__file__).parent.parent
_SYSTEM = "/usr/bin/python3"
_SOURCES = ("pyproject.toml", "vmnet", "plugins", "bench/installed.py")


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--python``, the common option of the benchmarks."""
    parser.add_argument(
        "--python",
        type=Path,
        metavar="PATH",
        help="an interpreter that has vmnet (default: the system's, with a fresh wheel)",
    )


def python() -> Path:
    """Return an interpreter that has vmnet; the ``vmnet`` command is in the same folder.

    The environment is in a cache folder, and is created again when a source has changed. It
    contains only vmnet and its dependencies: setuptools, for example, would make each start import
    an additional file.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    base = _base()
    folder = cache / "vmnet" / f"bench-{base.strip('/').replace('/', '-')}"
    interpreter, stamp = folder / "bin" / "python", folder / "stamp"
    wanted = _fingerprint()
    if not (stamp.exists() and stamp.read_text() == wanted):
        with step(f"installing vmnet from this checkout for {base}"):
            shutil.rmtree(folder, ignore_errors=True)
            run(base, "-m", "venv", "--without-pip", folder)
            pip = (sys.executable, "-m", "pip", "--python", interpreter)
            run(*pip, "install", "--quiet", _CHECKOUT, timeout=600)
            _as_in_the_image(folder)
            stamp.write_text(wanted)
    return interpreter


def _as_in_the_image(folder: Path) -> None:
    """Write the entry point's script and precompile its modules, as the Dockerfile does."""
    script = folder / "bin" / "vmnet"
    interpreter = f"/usr/bin/env -S --block-signal=HUP,INT,QUIT,TERM,PWR {folder}/bin/python -I"
    script.write_text(f"#!{interpreter}\nfrom vmnet.__main__ import main\nmain()\n")
    run(script, "precompile", env={"PATH": os.environ["PATH"], "VMNET_QEMU": "/bin/true"})


def is_precompiled(python: Path) -> bool:
    """Return whether starts of this interpreter use the file of `vmnet precompile`."""
    program = "from vmnet.imports import precompiled; print(precompiled.use())"
    return run(python, "-I", "-c", program).stdout == "True\n"


def _base() -> str:
    """Return the system's interpreter, as in the image, or this one if the system's is too old.

    Distributions build their interpreters with profile-guided optimisation. Without it, as built by
    pyenv, imports take a quarter longer.
    """
    program = "import sys, venv; print(sys.version_info >= (3, 11))"
    is_usable = Path(_SYSTEM).exists() and run(_SYSTEM, "-c", program).stdout == "True\n"
    return _SYSTEM if is_usable else sys.executable


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name in _SOURCES:
        root = _CHECKOUT / name
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and path.parent.name != "__pycache__":
                digest.update(f"{path} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()
