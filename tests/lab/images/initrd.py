"""Add files to a guest's initial RAM disk. The kernel unpacks concatenated archives."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..command import run


def appended(initrd: Path, files: Mapping[str, Path], to: Path) -> Path:
    """
    Write a copy of an initrd with additional files.

    :param files: the files by their paths in the guest. They keep their modes.
    """
    with tempfile.TemporaryDirectory(prefix="vmt-initrd-") as name:
        root = Path(name, "root")
        for guest_path, file in files.items():
            path = root / guest_path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, path)
        paths = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        archive = Path(name, "archive")
        words = ("cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0", "-O", archive)
        run(*words, cwd=root, input="".join(f"{path}\n" for path in paths))
        to.write_bytes(initrd.read_bytes() + archive.read_bytes())
    return to


def program(path: Path) -> dict[str, Path]:
    """Return a program of this machine and its shared libraries, for :func:`appended`."""
    libraries = re.findall(r"(/\S+) \(0x", run("ldd", path).stdout)
    return {str(path): path, **{library: Path(library) for library in libraries}}
