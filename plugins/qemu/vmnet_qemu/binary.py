"""Find QEMU's binary."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vmnet.api import LaunchError, process

_HINT = "the image contains QEMU; elsewhere `apt-get install qemu-system-x86`, or set VMNET_QEMU"


def find(requested: Path | None) -> Path:
    """Return the path of QEMU's binary.

    :param requested: VMNET_QEMU
    :raises LaunchError: it is missing or can't be executed
    """
    if requested is not None:
        if not requested.exists():
            raise LaunchError(f"VMNET_QEMU={requested}: there is no such file", _HINT)
        if not os.access(requested, os.X_OK) or requested.is_dir():
            raise LaunchError(f"VMNET_QEMU={requested} can't be executed", _HINT)
        return requested
    name = f"qemu-system-{os.uname().machine}"
    path = process.find(name)
    if path is None:
        raise LaunchError(f"{name} is not installed", _HINT)
    return path


def version(path: Path) -> tuple[int, int]:
    """Return the major and minor version of QEMU; zeros if it does not print one.

    :raises LaunchError: it can't be executed
    """
    try:
        answer = process.ask((str(path), "--version"))
    except OSError as error:
        raise LaunchError(f"{path} --version: {error}", _HINT) from None
    found = re.search(r"version (\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
