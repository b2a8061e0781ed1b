"""The arguments for files that vmnet opens for QEMU. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmnet.api import Opened
from vmnet_qemu.quoting import escape


def add(files: tuple[Opened, ...], number: int) -> Iterator[str]:
    """Yield the descriptors of a file, which form a set with this number."""
    for file in files:
        yield from ("-add-fd", f"fd={file.fd},set={number}")


def words(path: Path, number: int, files: tuple[Opened, ...], *, block: bool) -> str:
    """Return the options of ``-drive`` that name a file, or its set of descriptors.

    QEMU recognises a block device by its name, but not by the name of a set.
    """
    name = f"/dev/fdset/{number}" if files else escape(str(path))
    return f"file.driver=host_device,file.filename={name}" if block else f"file={name}"
