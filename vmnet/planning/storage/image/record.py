"""What earlier starts recorded on an image: its format, and the VM that used it.

The records are extended attributes (xattr(7)), so they belong to the file, whatever its path in the
next container. A guest cannot reach them. Block devices and some file systems have none.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)
_FORMAT, _VM = "user.vmnet.format", "user.vmnet.vm"
_MOST = 255  # bytes of a name, which a start may have written on another machine
RAW = "raw"


def is_raw(image: Path) -> bool:
    """Return whether an earlier start has served the image as a raw disk."""
    return _read(image, _FORMAT) == RAW


def may_be_disk(image: Path) -> bool:
    """Return whether a start has served the image to a guest that could write to it.

    On a file system without records, each image may be a disk.
    """
    try:
        return bool(os.getxattr(image, _FORMAT))
    except OSError as error:
        return error.errno != errno.ENODATA


def last_vm(image: Path) -> str:
    """Return the name of the VM that was last started with the image; empty if it is unknown."""
    return _read(image, _VM)


def write(image: Path, image_format: str, vm: str) -> None:
    """Record the format of an image and the VM that uses it, as far as the file system allows."""
    _write(image, _FORMAT, image_format)
    write_vm(image, vm)


def write_vm(path: Path, vm: str) -> None:
    """Record the VM that uses a file, as far as the file system allows."""
    _write(path, _VM, vm)


def _write(path: Path, name: str, value: str) -> None:
    try:
        os.setxattr(path, name, value.encode(errors="replace")[:_MOST])
    except OSError as error:
        _log.debug("%s: can't record %s: %s", path, name, error.strerror)


def _read(image: Path, name: str) -> str:
    try:
        return os.getxattr(image, name)[:_MOST].decode(errors="replace")
    except OSError:
        return ""  # no record, or a file system without records
