"""A program that waits in QEMU's place: like QEMU, it inherits the taps and ends on SIGTERM."""

from __future__ import annotations

import signal
from pathlib import Path

_SCRIPT = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "QEMU emulator version 10.0.0"; exit; fi
trap 'exit 0' TERM
sleep 600 &
wait
"""
_NAME = "hypervisor"


def write(folder: Path) -> Path:
    """Write the program into a folder, and return its path."""
    path = folder / _NAME
    path.write_text(_SCRIPT)
    path.chmod(0o755)
    return path


def waits(pid: int) -> bool:
    """Return whether a process is the program, and ends on SIGTERM.

    Before the shell handles the signal, it would end with another status, or not at all as PID 1.
    """
    try:
        name = Path(f"/proc/{pid}/comm").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return False
    handled = int(status.split("SigCgt:")[1].split()[0], 16)
    return name == f"{_NAME}\n" and bool(handled >> (signal.SIGTERM - 1) & 1)
