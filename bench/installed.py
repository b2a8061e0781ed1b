"""vmnet as the image has it: a wheel of this checkout in a virtual environment, compiled."""

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
    """``--python``, which every benchmark takes."""
    parser.add_argument(
        "--python",
        type=Path,
        metavar="PATH",
        help="an interpreter that has vmnet; the system's and a fresh wheel unless given",
    )


def python() -> Path:
    """The interpreter that has vmnet; the ``vmnet`` command is beside it.

    Made in a cache folder, again whenever a source has changed, and with nothing in it but vmnet
    and what it needs: setuptools, for one, would have each start import a file of its own.
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
    """The entry point's script and its modules as the Dockerfile makes them."""
    script = folder / "bin" / "vmnet"
    interpreter = f"/usr/bin/env -S --block-signal=HUP,INT,QUIT,TERM,PWR {folder}/bin/python -I"
    script.write_text(f"#!{interpreter}\nfrom vmnet.__main__ import main\nmain()\n")
    run(script, "precompile", env={"PATH": os.environ["PATH"], "VMNET_QEMU": "/bin/true"})


def is_precompiled(python: Path) -> bool:
    """Whether starts of this interpreter import from the file of `vmnet precompile`."""
    program = "from vmnet.imports import precompiled; print(precompiled.use())"
    return run(python, "-I", "-c", program).stdout == "True\n"


def _base() -> str:
    """The system's interpreter, as the image has it, where it is new enough; else our own.

    Distributions build theirs with profile-guided optimisation; one that pyenv has built without
    takes a quarter longer to import anything.
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
