"""Make disk images with qemu-img, damage them, and have vmnet refuse them."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from vmnet.errors import MachineError
from vmnet.planning.storage.image import choose

MIB = 1 << 20


def qemu_img(*words: str | Path) -> str:
    command = ("qemu-img", *map(str, words))
    return subprocess.run(
        command, check=True, timeout=WAIT, stdout=subprocess.PIPE, text=True
    ).stdout


def create(path: Path, *arguments: str) -> Path:
    qemu_img("create", "-q", *arguments[:-1], path, arguments[-1])
    return path


def converted(path: Path, *arguments: str, size: int = 8 * MIB) -> Path:
    """Make an image of random data, so that all clusters are allocated."""
    source = path.with_name("source")
    source.write_bytes(random.Random(1).randbytes(size))
    qemu_img("convert", "-f", "raw", *arguments, source, path)
    source.unlink()
    return path


def truncate(path: Path, size: int) -> Path:
    os.truncate(path, size)
    return path


def refused(path: Path, requested: str = "auto", *, ephemeral: bool = False) -> MachineError:
    with pytest.raises(MachineError) as caught:
        choose.disk(path, requested, ephemeral=ephemeral)
    return caught.value


def header(disk: Path, offset: int, content: bytes) -> Path:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(content)
    return disk
