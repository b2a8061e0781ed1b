"""Temporary folders that programs which are not root must reach, as dnsmasq and QEMU are not."""

from __future__ import annotations

from pathlib import Path


def open_to_readers(folder: Path) -> None:
    """Let other users into a test's folder, and into the two above it that pytest made for root.

    Permissions are only added: with ``--basetemp=/tmp/X`` the last of them is /tmp itself.
    """
    for opened in (folder, *folder.parents[:2]):
        opened.chmod(opened.stat().st_mode | 0o055)
