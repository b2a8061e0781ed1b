"""Read bytes from an image, and numbers from bytes."""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

Read = Callable[[int, int], bytes]
"""Returns the bytes at an offset, with a size; fewer at the end of the file."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[Read, int]]:
    """Open a file or block device, and yield a function that reads it and its length in bytes.

    :raises OSError: it can't be read
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        length = os.lseek(fd, 0, os.SEEK_END)
        yield partial(_read, fd, length), length
    finally:
        os.close(fd)


def _read(fd: int, length: int, offset: int, size: int) -> bytes:
    size = min(size, length - offset)  # an image may claim more than fits into memory or off_t
    return os.pread(fd, size, offset) if size > 0 else b""


def big_endian(content: bytes, kind: str) -> array[int]:
    """Return the big-endian numbers in ``content``, without an incomplete last number.

    :param kind: a type code of :mod:`array`: ``I`` for 32 bits, ``Q`` for 64
    """
    return _numbers(content, kind, sys.byteorder == "little")


def little_endian(content: bytes, kind: str) -> array[int]:
    """Return the little-endian numbers in ``content``; see :func:`big_endian`."""
    return _numbers(content, kind, sys.byteorder == "big")


def _numbers(content: bytes, kind: str, swapped: bool) -> array[int]:
    numbers = array(kind)
    numbers.frombytes(content[: len(content) // numbers.itemsize * numbers.itemsize])
    if swapped:
        numbers.byteswap()
    return numbers
