"""Find QEMU's binary."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vmnet.api import LaunchError, process
from vmnet_qemu import hardware


def find(requested: Path | None, architecture: str) -> Path:
    """Return the path of QEMU's binary.

    :param requested: VMNET_QEMU
    :param architecture: of the guest
    :raises LaunchError: it is missing or can't be executed
    """
    hint = _hint(architecture)
    if requested is not None:
        if not requested.exists():
            raise LaunchError(f"VMNET_QEMU={requested}: there is no such file", hint)
        if not os.access(requested, os.X_OK) or requested.is_dir():
            raise LaunchError(f"VMNET_QEMU={requested} can't be executed", hint)
        return requested
    name = f"qemu-system-{architecture}"
    path = process.find(name)
    if path is None:
        raise LaunchError(f"{name} is not installed", hint)
    return path


def _hint(architecture: str) -> str:
    package = hardware.of(architecture).package
    if architecture == os.uname().machine:
        return f"the image contains QEMU; elsewhere `apt-get install {package}`, or set VMNET_QEMU"
    return f"`apt-get install {package}`; the image has it if built with `--build-arg FOREIGN=on`"


def version(path: Path) -> tuple[int, int]:
    """Return the major and minor version of QEMU; zeros if it does not print one.

    :raises LaunchError: it can't be executed
    """
    try:
        answer = process.ask((str(path), "--version"))
    except OSError as error:
        raise LaunchError(
            f"{path} --version: {error}", "set VMNET_QEMU to a program for this host"
        ) from None
    found = re.search(r"version (\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
