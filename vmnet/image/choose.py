"""Decide what a disk image is served as, or why it is not.

A guest owns every byte of a raw disk, so a format that is found is believed only where no guest can
have written its mark, and only if it refers to no other file. The mark of each such format lies in
the first sector, and QEMU keeps the guest of a guessed raw disk from writing it there. All other
marks have an image refused at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vmnet.errors import MachineError
from vmnet.image import magic
from vmnet.image.magic import Content
from vmnet.image.reading import Read, opened

SERVED = ("qcow2", "raw", "vdi", "vhdx", "vmdk", "vpc", "qed", "qcow", "parallels")
"""What QEMU reads and writes, by its names."""

_AS_IT_IS = "VMNET_DISK_FORMAT=raw, if it is a raw disk to which a guest wrote this"


class Choice(NamedTuple):
    """How an image is served.

    :param guessed: it is raw because nothing else was recognised, and its guest may write
    :param backed: it names other files
    :param note: about a format that is not the best; empty if there is nothing to say
    """

    format: str
    guessed: bool = False
    backed: bool = False
    note: str = ""


class _Image(NamedTuple):
    """A file with what was recognised in it."""

    path: Path
    read: Read
    length: int
    found: Content | None


def disk(path: Path, wish: str, *, ephemeral: bool = False) -> Choice:
    """How VMNET_DISK is served.

    :param wish: VMNET_DISK_FORMAT: a format, or ``auto`` to look
    :param ephemeral: QEMU only reads it
    :raises MachineError: it can't be served, or refers to other files where ``wish`` is auto
    """
    if wish == "raw":
        return Choice("raw")
    with _opened(path, "VMNET_DISK") as image:
        found = image.found
        if wish == "auto" and found is None:
            _require_sectors(image)
            return Choice("raw", guessed=not ephemeral)
        if wish == "auto" and found is not None and not _is_believed(found):
            raise _not_served(path, found)
        if found is None or wish not in ("auto", found.format):
            raise MachineError(
                f"VMNET_DISK_FORMAT={wish}, but by its content {path} is "
                f"{found.title if found else 'of no format that is known'}",
                "leave VMNET_DISK_FORMAT unset to have the image looked at",
            )
        if found.format == "qcow2":
            return _qcow2(image, found, may_refer=wish != "auto")
        return _other(image, found, ephemeral)


def cdrom(path: Path) -> None:
    """See that VMNET_CDROM is not an image of another kind.

    :raises MachineError: it is
    """
    with _opened(path, "VMNET_CDROM") as image:
        found = image.found
    if found is None or found.format == magic.ISO:
        return
    is_disk = found.format in SERVED
    remedy = "name it with VMNET_DISK" if is_disk else _remedy(path, found)
    raise MachineError(f"VMNET_CDROM={path} is {found.title}, not a CD image", remedy)


@contextmanager
def _opened(path: Path, variable: str) -> Iterator[_Image]:
    try:
        with opened(path) as (read, length):
            tail = read(max(length - magic.TAIL, 0), magic.TAIL)
            yield _Image(path, read, length, magic.recognise(read(0, magic.HEAD), tail))
    except OSError as error:
        raise MachineError(
            f"{variable}={path} can't be read: {error.strerror}",
            "look for errors of its device in the host's log, `dmesg`",
        ) from None


def _is_believed(found: Content) -> bool:
    return found.format in SERVED and not found.guests


def _qcow2(image: _Image, found: Content, *, may_refer: bool) -> Choice:
    from vmnet.image import qcow2

    header = qcow2.header(image.read)
    refers = header is not None and header.refers
    if refers and not may_refer:
        raise MachineError(
            f"VMNET_DISK={image.path} is a qcow2 image that refers to another file",
            "set VMNET_DISK_FORMAT=qcow2 if you made it so yourself, and mount that file too",
        )
    _require_whole(image, found, qcow2.fault(image.read, image.length))
    if refers:
        from vmnet.image import chain

        chain.require(image.path, image.read)
    return Choice("qcow2", backed=refers)


def _other(image: _Image, found: Content, ephemeral: bool) -> Choice:
    """A format that QEMU reads and writes, in one file."""
    from vmnet.image import others

    facts = others.facts(found.format, image.read, image.length)
    command = _command(image.path, found)
    if found is magic.DESCRIPTOR or facts.refers:
        raise MachineError(
            f"VMNET_DISK={image.path} is {found.title}, and only a part of a disk",
            f"make one image of all parts, in the folder where they are: {command}",
        )
    _require_whole(image, found, facts.fault)
    if facts.unwritable and not ephemeral:
        raise MachineError(
            f"VMNET_DISK={image.path} is {found.title}, {facts.unwritable}",
            f"{command}; or have it only read, with VMNET_DISK_MODE=ephemeral",
        )
    note = f"{found.title}; QEMU writes qcow2 faster and more safely: {command}"
    return Choice(found.format, note="" if ephemeral else note)


def _require_whole(image: _Image, found: Content, fault: str) -> None:
    if fault:
        check = found._replace(advice="qemu-img check -f {format} {}")
        raise MachineError(
            f"VMNET_DISK={image.path} is {found.title}, but damaged: {fault}",
            f"fetch or restore it again; {_command(image.path, check)} shows more",
        )


def _require_sectors(image: _Image) -> None:
    """A raw disk has whole sectors; a broken download or an unknown format hardly ever."""
    if image.length % magic.SECTOR:
        raise MachineError(
            f"VMNET_DISK={image.path} is no disk image: "
            f"it has {image.length} bytes, not whole sectors of 512",
            "fetch or unpack it again; VMNET_DISK_FORMAT=raw serves it as it is",
        )


def _not_served(path: Path, found: Content) -> MachineError:
    return MachineError(
        f"VMNET_DISK={path} is {found.title}, which is not served as a disk",
        f"{_remedy(path, found)}; {_AS_IT_IS}",
    )


def _remedy(path: Path, found: Content) -> str:
    if found.format == magic.ISO:
        return f"VMNET_CDROM={path} puts it into the guest's CD drive"
    command = _command(path, found)
    if found is magic.FIXED_VHD:
        return f"set VMNET_DISK_FORMAT=vpc, or convert it: {command}"
    return f"convert it: {command}" if found.format else f"unpack it on the host: {command}"


def _command(path: Path, found: Content) -> str:
    """What to run in the folder where the file is."""
    import shlex

    words = found.advice.replace("{format}", found.format)
    return f"`{words.replace('{}', shlex.quote(path.name))}`"
