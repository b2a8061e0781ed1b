"""Decide in which format QEMU opens a disk image, or refuse the image.

A guest controls every byte of its raw disk, so it could write the mark of another format there.
vmnet trusts a detected format only if no guest can have written its mark, and if the image refers
to no other file. The marks of trusted formats are in the first sector. If QEMU has guessed that a
disk is raw, it prevents the guest from writing such a mark there. Other marks can only cause vmnet
to refuse the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vmnet.errors import MachineError
from vmnet.planning.storage.disk_settings import option
from vmnet.planning.storage.image import magic, record
from vmnet.planning.storage.image.magic import Content
from vmnet.planning.storage.image.reading import Read, opened

SERVED = ("qcow2", "raw", "vdi", "vhdx", "vmdk", "vpc", "qed", "qcow", "parallels")
"""Formats that QEMU reads and writes, by QEMU's names."""

_FORGET = "setfattr -x user.vmnet.format {}"


class Choice(NamedTuple):
    """The format in which QEMU opens an image.

    :param guessed: raw because no format was recognised, and the guest may write to the image
    :param backed: the image refers to other files
    :param note: the disadvantage of the format, and a remedy; empty if there is none
    """

    format: str
    guessed: bool = False
    backed: bool = False
    note: str = ""


class _Image(NamedTuple):
    """A file of a variable, and the format recognised in it."""

    path: Path
    read: Read
    length: int
    found: Content | None
    variable: str

    def __str__(self) -> str:
        return f"{self.variable}={self.path}"

    @property
    def format_setting(self) -> str:
        return option(self.variable, "format")


def disk(
    path: Path,
    requested: str,
    *,
    ephemeral: bool = False,
    variable: str = "VMNET_DISK",
    folders: tuple[Path, ...] = (),
) -> Choice:
    """Choose the format for a disk.

    :param requested: VMNET_DISK_FORMAT: a format, or ``auto`` to detect it
    :param variable: the variable that names the disk
    :param ephemeral: QEMU only reads the image
    :param folders: where the files to which the image refers may be, in addition to its own folder
    :raises MachineError: QEMU can't serve the image, or ``requested`` is auto and it refers to
        other files
    """
    if requested == "raw":
        return Choice("raw")
    with _opened(path, variable) as image:
        found = image.found
        if requested == "auto" and found is None:
            _require_sectors(image)
            return Choice("raw", guessed=not ephemeral)
        if requested == "auto" and found is not None and record.is_raw(path):
            return Choice("raw", note=_kept(image, found))
        if requested == "auto" and found is not None and not _is_trusted(found):
            raise _not_served(image, found)
        if found is None or requested not in ("auto", found.format):
            raise MachineError(
                f"{image.format_setting}={requested}, but {path} is "
                f"{found.title if found else 'in no known format'}",
                f"unset {image.format_setting}, and vmnet detects the format",
            )
        if found.format == "qcow2":
            return _qcow2(image, found, folders if requested != "auto" else None)
        return _other(image, found, ephemeral)


def cdrom(path: Path) -> None:
    """Check that VMNET_CDROM is not an image of another kind.

    :raises MachineError: it is another kind of image
    """
    with _opened(path, "VMNET_CDROM") as image:
        found = image.found
    if found is None or found.format == magic.ISO:
        return
    is_disk = found.format in SERVED
    remedy = "set VMNET_DISK to it instead" if is_disk else _remedy(path, found)
    raise MachineError(f"VMNET_CDROM={path} is {found.title}, not a CD image", remedy)


@contextmanager
def _opened(path: Path, variable: str) -> Iterator[_Image]:
    try:
        with opened(path) as (read, length):
            tail = read(max(length - magic.TAIL, 0), magic.TAIL)
            yield _Image(path, read, length, magic.recognise(read(0, magic.HEAD), tail), variable)
    except OSError as error:
        raise MachineError(
            f"{variable}={path} can't be read: {error.strerror}",
            "check the host's log (`dmesg`) for errors of its device",
        ) from None


def _is_trusted(found: Content) -> bool:
    return found.format in SERVED and not found.forgeable


def _qcow2(image: _Image, found: Content, folders: tuple[Path, ...] | None) -> Choice:
    """Choose qcow2.

    :param folders: where its files may be; None: it may not refer to files
    """
    from vmnet.planning.storage.image import qcow2

    header = qcow2.header(image.read)
    refers = header is not None and header.refers
    if refers and folders is None:
        raise MachineError(
            f"{image} is a qcow2 image that refers to another file",
            f"if you created it like this, set {image.format_setting}=qcow2 and mount that file "
            "too",
        )
    _require_whole(image, found, qcow2.fault(image.read, image.length))
    if refers and folders is not None:
        from vmnet.planning.storage.image import chain

        chain.require(image.path, image.read, folders)
    return Choice("qcow2", backed=refers)


def _other(image: _Image, found: Content, ephemeral: bool) -> Choice:
    """Choose a single-file format that QEMU reads and writes, other than qcow2 and raw."""
    from vmnet.planning.storage.image import other_formats

    facts = other_formats.facts(found.format, image.read, image.length)
    command = _command(image.path, found)
    if found is magic.DESCRIPTOR or facts.refers:
        raise MachineError(
            f"{image} is {found.title}, but only a part of a disk",
            f"combine all parts into one image, in their folder: {command}",
        )
    _require_whole(image, found, facts.fault)
    if facts.unwritable and not ephemeral:
        raise MachineError(
            f"{image} is {found.title}: {facts.unwritable}",
            f"convert it: {command}; or set {option(image.variable, 'mode')}=ephemeral, which only "
            "reads it",
        )
    note = f"{found.title}; QEMU writes qcow2 faster and more safely: {command}"
    return Choice(found.format, note="" if ephemeral else note)


def _require_whole(image: _Image, found: Content, fault: str) -> None:
    if fault:
        check = found._replace(advice="qemu-img check -f {format} {}")
        raise MachineError(
            f"{image} is {found.title}, but damaged: {fault}",
            f"download it again or restore it; {_command(image.path, check)} shows details",
        )


def _require_sectors(image: _Image) -> None:
    """Refuse an image with a partial sector, typical of a broken download or an unknown format."""
    if image.length % magic.SECTOR:
        raise MachineError(
            f"{image} is not a disk image: "
            f"its size of {image.length} bytes is not a multiple of {magic.SECTOR}",
            f"download or unpack it again; {image.format_setting}=raw serves it unchanged",
        )


def _kept(image: _Image, found: Content) -> str:
    """Return the note about a raw disk whose guest has written the mark of another format."""
    remedy = f"run {_command(image.path, found._replace(advice=_FORGET))}"
    if found.format == "qcow2":
        remedy = f"set {image.format_setting}=qcow2"
    return (
        f"a raw disk, as at earlier starts, although it contains {found.title}; if you have "
        f"replaced the image, {remedy}"
    )


def _not_served(image: _Image, found: Content) -> MachineError:
    return MachineError(
        f"{image} is {found.title}, which vmnet does not serve as a disk",
        f"{_remedy(image.path, found)}; "
        f"or set {image.format_setting}=raw if a guest wrote this content to its raw disk",
    )


def _remedy(path: Path, found: Content) -> str:
    if found.format == magic.ISO:
        return f"set VMNET_CDROM={path} to insert it into the guest's CD drive"
    command = _command(path, found)
    if found is magic.FIXED_VHD:
        return f"set VMNET_DISK_FORMAT=vpc, or convert it: {command}"
    return f"convert it: {command}" if found.format else f"unpack it on the host: {command}"


def _command(path: Path, found: Content) -> str:
    """Return the command to run in the file's folder, in backquotes."""
    import shlex

    words = found.advice.replace("{format}", found.format)
    return f"`{words.replace('{}', shlex.quote(path.name))}`"
