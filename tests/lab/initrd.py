"""More files for a guest's initial RAM disk: the kernel unpacks archives one behind the other."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .command import run


def appended(initrd: Path, files: Mapping[str, Path], to: Path) -> Path:
    """
    A copy of an initrd with more files in it.

    :param files: by their place in the guest; the mode is kept.
    """
    with tempfile.TemporaryDirectory(prefix="vmt-initrd-") as name:
        root = Path(name, "root")
        for place, file in files.items():
            path = root / place.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, path)
        listed = sorted(str(one.relative_to(root)) for one in root.rglob("*"))
        archive = Path(name, "archive")
        words = ("cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0", "-O", archive)
        run(*words, cwd=root, input="".join(f"{one}\n" for one in listed))
        to.write_bytes(initrd.read_bytes() + archive.read_bytes())
    return to


def program(path: Path) -> dict[str, Path]:
    """A program of this machine with the libraries that it needs."""
    needed = re.findall(r"(/\S+) \(0x", run("ldd", path).stdout)
    return {str(path): path, **{one: Path(one) for one in needed}}
