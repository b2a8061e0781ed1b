"""Make temporary folders readable to programs that do not run as root (dnsmasq and QEMU)."""

from __future__ import annotations

from pathlib import Path


def open_to_readers(folder: Path) -> None:
    """Let other users read a test's folder and its two parents, which pytest made for root.

    Only add permissions, because with ``--basetemp=/tmp/X`` the second parent is /tmp.
    """
    for path in (folder, *folder.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
