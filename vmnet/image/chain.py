"""The files that a qcow2 image names: each is there, and holds."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote

from vmnet.errors import MachineError
from vmnet.image import qcow2
from vmnet.image.magic import HEAD, recognise
from vmnet.image.reading import Read, opened

# QEMU opens these by other drivers: `nbd://…`, `json:{…}`. Behind a slash a colon is a name's.
_PROTOCOL = re.compile(r"[^/:]*:")


def require(image: Path, read: Read) -> None:
    """See that a chain of images is complete.

    :param image: the first of them, which holds itself
    :param read: its content
    :raises MachineError: a file of it is missing, can't be read, does not hold or comes twice
    """
    _follow(image, read, (image.resolve(),))


def _follow(image: Path, read: Read, seen: tuple[Path, ...]) -> None:
    header = qcow2.header(read)
    assert header is not None  # it holds
    backing, backing_format, data = qcow2.names(read, header)
    if header.data_is_apart:
        _length(image, data or "?")
    if backing and not backing_format and not backing.startswith("json:"):
        raise _undeclared(image, backing)
    if not backing or _PROTOCOL.match(backing.removeprefix("file:")):
        return
    path = image.parent / backing.removeprefix("file:")
    length = _length(image, backing)
    if path.resolve() in seen:
        raise MachineError(
            f"the backing file {path} of {image} has that image behind itself",
            f"name the right one: `qemu-img rebase -u -f qcow2 -b FILE {image.name}`",
        )
    if backing_format != "qcow2":
        return
    with opened(path) as (read_next, _):
        found = recognise(read_next(0, HEAD), b"")
        if found is None or found.format != "qcow2":
            _require(path, image, "it is not the qcow2 image that it should be")
        _require(path, image, qcow2.fault(read_next, length))
        _follow(path, read_next, (*seen, path.resolve()))


def _undeclared(image: Path, backing: str) -> MachineError:
    """QEMU would look into the file, where the guest that once had it as a disk chose what to see.

    libvirt refuses such an image as well.
    """
    command = f"qemu-img rebase -u -f qcow2 -F FORMAT -b {quote(backing)} {quote(image.name)}"
    return MachineError(
        f"the disk image {image} does not say of which format its backing file {backing} is",
        f"have it say so, in the folder of the image, with raw, qcow2 or another as FORMAT: "
        f"`{command}`",
    )


def _length(image: Path, name: str) -> int:
    """How long a file is that an image names, which can be read.

    :raises MachineError: it can't
    """
    path = image.parent / name.removeprefix("file:")
    try:
        with opened(path) as (_, length):
            return length
    except OSError as error:
        raise MachineError(
            f"the disk image {image} needs {path}, which can't be read: {error.strerror}",
            f"mount it: `-v /path/on/the/host:{path}`",
        ) from None


def _require(path: Path, image: Path, fault: str) -> None:
    if fault:
        raise MachineError(
            f"{path}, the backing file of {image}, is damaged: {fault}",
            f"fetch or restore it again; `qemu-img check {path.name}` shows more",
        )
