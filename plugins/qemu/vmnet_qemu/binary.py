"""Find QEMU's binary."""

from __future__ import annotations

import os
from pathlib import Path

from vmnet.api import LaunchError, process

_HINT = "the image contains QEMU; elsewhere `apt-get install qemu-system-x86`, or set VMNET_QEMU"


def find(wish: Path | None) -> Path:
    """Return the path of QEMU's binary.

    :param wish: VMNET_QEMU
    :raises LaunchError: it is missing or can't be executed
    """
    if wish is not None:
        if not wish.exists():
            raise LaunchError(f"VMNET_QEMU={wish}: there is no such file", _HINT)
        if not os.access(wish, os.X_OK) or wish.is_dir():
            raise LaunchError(f"VMNET_QEMU={wish} can't be executed", _HINT)
        return wish
    name = f"qemu-system-{os.uname().machine}"
    path = process.find(name)
    if path is None:
        raise LaunchError(f"{name} is not installed", _HINT)
    return path
