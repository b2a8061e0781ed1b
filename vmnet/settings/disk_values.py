"""Parse the value of VMNET_DISK and of the variables for further disks.

A value is a path, followed by options: ``/data.qcow2,bus=sata,serial=abc,readonly=on``. As in QEMU,
a comma in the path is doubled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from vmnet.model.base import frozen
from vmnet.settings import values

BUSES = ("virtio", "scsi", "sata", "ide", "nvme")
CACHES = ("writeback", "none", "writethrough", "directsync", "unsafe")
FORMATS = ("auto", "qcow2", "raw", "vpc")
MODES = ("persistent", "ephemeral", "overlay")
_UNCACHED = ("none", "directsync")
_READ_ONLY_BUSES = ("virtio", "scsi", "nvme")
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/[!-~]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SERIAL = re.compile(r"[A-Za-z0-9_.-]{1,20}", re.ASCII)


@frozen
class DiskValue:
    """A disk, as a variable describes it.

    :param cache: QEMU's name of the cache mode
    :param aio: how QEMU waits for the disk: ``threads``, ``native``, or ``io_uring``, which falls
        back to threads
    :param iothread: a thread of QEMU serves this disk alone
    :param boot: the place in the boot order, from 1; None if the variable does not name it
    :param url: from where a start downloads the image; empty for a file
    :param format: as VMNET_DISK_FORMAT
    :param mode: as VMNET_DISK_MODE
    :param size: as VMNET_DISK_SIZE, in bytes
    :param sha256: as VMNET_DISK_SHA256
    """

    path: Path
    bus: str = "virtio"
    serial: str = ""
    readonly: bool = False
    cache: str = "writeback"
    aio: str = "threads"
    discard: bool = True
    iothread: bool = False
    boot: int | None = None
    format: str = "auto"
    mode: str = "persistent"
    size: int | None = None
    url: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        return self.url or str(self.path)


def first(value: str) -> DiskValue:
    """Parse VMNET_DISK, whose format, mode and size are variables of their own."""
    return _parse(value, _OPTIONS)


def further(value: str) -> DiskValue:
    """Parse VMNET_DISK2 and the like."""
    return _parse(value, {**_OPTIONS, **_FURTHER_OPTIONS})


def _parse(value: str, known: Mapping[str, Callable[[str], Any]]) -> DiskValue:
    source, *given = split(value)
    disk = DiskValue(**_from(source), **options(given, known, "a disk"))
    if fault := _fault(disk):
        raise ValueError(fault)
    return disk


def options(
    given: Iterable[str], known: Mapping[str, Callable[[str], Any]], what: str
) -> dict[str, Any]:
    """Return the values of options such as ``bus=sata``.

    :param known: their parsers
    :param what: what has the options, for errors: ``a disk``
    """
    found: dict[str, Any] = {}
    for option in given:
        name, equals, text = option.partition("=")
        if name not in known or not equals:
            raise ValueError(_unknown(option, known, what))
        if name in found:
            raise ValueError(f"{what} with {name}= once")
        try:
            found[name] = known[name](text)
        except ValueError as error:
            raise ValueError(f"{what} whose {name} is {error}") from None
    return found


def _from(source: str) -> dict[str, Any]:
    if source.startswith(("http://", "https://")):
        if not _URL.fullmatch(source):
            raise ValueError("a URL such as https://example.org/disk.qcow2, without a password")
        return {"url": source, "path": Path()}
    try:
        return {"path": values.absolute_path(source)}
    except ValueError as error:
        raise ValueError(f"{error}, or a URL of http or https") from None


def split(value: str) -> list[str]:
    """Split at single commas, and make one comma of each doubled comma."""
    return [part.replace("\0", ",") for part in value.replace(",,", "\0").split(",")]


def _unknown(option: str, known: Mapping[str, object], what: str) -> str:
    name, equals, _ = option.partition("=")
    if name in known and not equals:
        return f"{what} with a value of {name}, such as {name}=…"
    if name in _FURTHER_OPTIONS and what == "a disk":
        return f"a disk without {name}=: set VMNET_DISK_{name.upper()}"
    if name in _OPTIONS or name in _FURTHER_OPTIONS:
        return f"{what} without {name}=: it has only {' and '.join(known)}"
    return (
        f"a path with the options {', '.join(f'{option}=' for option in known)}"
        f"{values.nearest(name, tuple(known))}; a comma in the path is written twice"
    )


def _fault(disk: DiskValue) -> str:
    if disk.readonly and disk.bus not in _READ_ONLY_BUSES:
        return f"a possible disk: with readonly=on, bus is {' or '.join(_READ_ONLY_BUSES)}"
    if disk.readonly and (disk.mode != "persistent" or disk.size is not None):
        return "a possible disk: readonly=on excludes mode= and size="
    if disk.iothread and disk.bus != "virtio":
        return "a possible disk: with iothread=on, bus is virtio"
    if disk.aio == "native" and disk.cache not in _UNCACHED:
        return f"a possible disk: with aio=native, cache is {' or '.join(_UNCACHED)}"
    return ""


def sha256(value: str) -> str:
    """Parse a SHA-256 checksum."""
    lowered = value.strip().lower()
    if not _SHA256.fullmatch(lowered):
        raise ValueError("a SHA-256 checksum of 64 hexadecimal digits")
    return lowered


def _serial(value: str) -> str:
    if not _SERIAL.fullmatch(value):
        raise ValueError("at most 20 letters, digits, '.', '-' and '_'")
    return value


_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "bus": values.choice(*BUSES),
    "serial": _serial,
    "readonly": values.boolean,
    "cache": values.choice(*CACHES),
    "aio": values.choice("threads", "native", "io_uring"),
    "discard": values.boolean,
    "iothread": values.boolean,
    "boot": values.integer(1, 99),
}
_FURTHER_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "format": values.choice(*FORMATS),
    "mode": values.choice(*MODES),
    "size": values.size,
    "sha256": sha256,
}
