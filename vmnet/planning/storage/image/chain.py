"""Check the files that a qcow2 image refers to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from vmnet import engine
from vmnet.errors import MachineError
from vmnet.model.names import shown
from vmnet.planning.storage.image import other_formats, qcow2
from vmnet.planning.storage.image.magic import DESCRIPTOR, HEAD, TAIL, Content, recognise
from vmnet.planning.storage.image.other_formats import Facts
from vmnet.planning.storage.image.reading import Read, opened

# Names for which QEMU uses another driver: `nbd://…`, `json:{…}`. After a slash, a colon is part of
# a file name.
_PROTOCOL = re.compile(r"[^/:]*:")
# Other protocols can name files of the container: json, fat, host_device, nbd+unix and others.
_NETWORK = re.compile(r"(nbd|https?|ftps?|ssh|iscsi|nfs)://")


def require(image: Path, read: Read, folders: tuple[Path, ...] = ()) -> None:
    """Check that a chain of images is complete, and refers to no other files.

    :param image: the first image, which has already been checked
    :param read: reads this image
    :param folders: where its files may be, in addition to its own folder
    :raises MachineError: a file of the chain is missing, unreadable, damaged, in it twice, or in
        another folder
    """
    allowed = tuple(folder.resolve() for folder in (image.resolve().parent, *folders))
    _follow(image, read, (image.resolve(),), allowed)


def files(image: Path, *, writable: bool) -> Iterator[tuple[Path, bool]]:
    """Yield each file to which a complete chain refers, and whether QEMU writes to it.

    :param writable: whether QEMU writes to this image; it only reads the backing files
    :raises OSError: an image can't be read
    """
    seen: set[Path] = set()  # a plugin's image may depend on itself
    while image not in seen:
        seen.add(image)
        with opened(image) as (read, _):
            header = qcow2.header(read)
            backing, backing_format, data = qcow2.names(read, header) if header else ("", "", "")
        if data:
            yield _path(image, data), writable
        if not backing or _is_remote(backing):
            return
        image, writable = _path(image, backing), False
        yield image, writable
        if backing_format != "qcow2":
            return


def _path(image: Path, name: str) -> Path:
    return image.parent / name.removeprefix("file:")


def _is_remote(backing: str) -> bool:
    return bool(_PROTOCOL.match(backing.removeprefix("file:")))


def _follow(image: Path, read: Read, seen: tuple[Path, ...], allowed: tuple[Path, ...]) -> None:
    header = qcow2.header(read)
    assert header is not None  # the image has already been checked
    backing, backing_format, data = qcow2.names(read, header)
    if header.data_is_apart:
        _require_allowed(image, data or "?", allowed)
        _length(image, data or "?")
    if backing and not backing_format and not backing.startswith("json:"):
        raise _undeclared(image, backing)
    if not backing:
        return
    if _is_remote(backing):
        _require_network(image, backing)
        return
    _require_allowed(image, backing, allowed)
    path = _path(image, backing)
    length = _length(image, backing)
    if path.resolve() in seen:
        raise MachineError(
            f"the backing file {path} of {image} depends on {image} itself",
            f"set the right backing file: `qemu-img rebase -u -f qcow2 -b FILE {image.name}`",
        )
    if backing_format == "raw":
        return
    with opened(path) as (read_next, _):
        tail = read_next(max(length - TAIL, 0), TAIL)
        found = recognise(read_next(0, HEAD), tail)
        if found is None or found.format != backing_format:
            title = shown(backing_format)
            _require(path, image, f"it is declared as {title}, but is not a {title} image")
        if backing_format != "qcow2":
            _require_alone(
                path, image, found, other_formats.facts(backing_format, read_next, length)
            )
            return
        _require(path, image, qcow2.fault(read_next, length))
        _follow(path, read_next, (*seen, path.resolve()), allowed)


def _require_alone(path: Path, image: Path, found: Content | None, facts: Facts) -> None:
    """Refuse a backing file that refers to further files, which may be any of the container."""
    if facts.refers or found is DESCRIPTOR:
        raise MachineError(
            f"{path}, the backing file of {image}, refers to other files",
            f"make one image of them: `qemu-img convert -O qcow2 {quote(path.name)} whole.qcow2`",
        )
    _require(path, image, facts.fault)


def _require_allowed(image: Path, name: str, allowed: tuple[Path, ...]) -> None:
    """Refuse a file in another folder, whose content the guest could read as its disk."""
    path = _path(image, name).resolve()
    if not any(path.is_relative_to(folder) for folder in allowed):
        raise MachineError(
            f"the disk image {image} refers to {shown(str(path))}, which is in another folder",
            f"if this is right, set VMNET_DISK_BACKING={path.parent}",
        )


def _require_network(image: Path, name: str) -> None:
    if not _NETWORK.match(name):
        raise MachineError(
            f"the disk image {image} refers to {shown(name)}, which may name any file",
            "name the backing file by its path: `qemu-img rebase -u -f qcow2 -F FORMAT -b FILE "
            f"{quote(image.name)}`",
        )


def _undeclared(image: Path, backing: str) -> MachineError:
    """Return the error for a backing file without a declared format.

    QEMU would guess the format from the content of the file. If a guest once had the file as its
    disk, the guest chose this content. libvirt refuses such an image as well.
    """
    command = f"qemu-img rebase -u -f qcow2 -F FORMAT -b {quote(backing)} {quote(image.name)}"
    return MachineError(
        f"the disk image {image} does not declare the format of its backing file {backing}",
        f"declare it in the folder of the image, with raw, qcow2 or another FORMAT: `{command}`",
    )


def _length(image: Path, name: str) -> int:
    """Return the length in bytes of a file that an image refers to.

    :raises MachineError: the file can't be read
    """
    path = _path(image, name)
    try:
        with opened(path) as (_, length):
            return length
    except OSError as error:
        raise MachineError(
            f"the disk image {image} needs {path}, which can't be read: {error.strerror}",
            engine.mount(path),
        ) from None


def _require(path: Path, image: Path, fault: str) -> None:
    if fault:
        raise MachineError(
            f"{path}, the backing file of {image}, is damaged: {fault}",
            f"download it again or restore it; `qemu-img check {path.name}` shows details",
        )
