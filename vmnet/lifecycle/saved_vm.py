"""The record of a VM that `vmnet stop --save` has saved, for the next start.

The memory is a snapshot within the VM's disks. It may only be loaded into the same machine with the
same disks, and only once: later the disks have what the guest has written since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from vmnet.lifecycle import files
from vmnet.lifecycle.vm_record import GuestNic
from vmnet.model.base import frozen
from vmnet.model.machine import Command
from vmnet.model.serial import plain
from vmnet.supervision import intended_pause

SNAPSHOT = "vmnet-saved"
"""The name of the snapshot."""

_CPU = Path("/proc/cpuinfo")
_CPU_LINES = ("model name", "flags", "Features")


@frozen
class SavedVm:
    """The machine that was saved.

    :param argv: QEMU's command line
    :param qemu: its version
    :param cpu: the host's CPU, which the guest may see
    :param nics: the name, the MAC and the addresses of each NIC
    :param images: the size and the time of the last change of each image (stat(2))
    """

    argv: tuple[str, ...]
    qemu: str
    cpu: str
    nics: tuple[tuple[str, ...], ...]
    images: tuple[tuple[str, int, int], ...]


def describe(
    command: Command, qemu: str, nics: Iterable[GuestNic], images: Iterable[Path]
) -> SavedVm:
    """Return the record of a machine, whose images no process changes any more.

    :param qemu: QEMU's version
    :raises OSError: an image can't be read
    """
    return SavedVm(command.argv, qemu, _cpu(), _identities(nics), tuple(map(_stamp, images)))


def save(run_dir: Path, saved: SavedVm) -> None:
    """Write the record, which only root can read, because arguments may contain passwords.

    :raises StateError: the run directory can't be written
    """
    files.write(run_dir / intended_pause.SAVED, json.dumps(plain(saved)).encode(), durable=True)


def exists(run_dir: Path) -> bool:
    return (run_dir / intended_pause.SAVED).exists()


def load(run_dir: Path) -> SavedVm | None:
    """Return the record, or None if there is none.

    :raises StateError: it can't be read
    """
    return files.load(run_dir / intended_pause.SAVED, _build)


def take(run_dir: Path) -> SavedVm | None:
    """Return the record and remove it, because it is valid only for one start.

    :raises StateError: it can't be read
    """
    try:
        return load(run_dir)
    finally:
        (run_dir / intended_pause.SAVED).unlink(missing_ok=True)


def differences(saved: SavedVm, command: Command, nics: Iterable[GuestNic]) -> Iterator[str]:
    """Yield what has changed since, in words."""
    if saved.nics != (now := _identities(nics)):
        had, has = (", ".join(map(" ".join, each)) for each in (saved.nics, now))
        yield f"the guest's NICs were {had} and are {has}"
    elif saved.argv != command.argv:
        changed = sorted({name for name, _ in _options(saved.argv) ^ _options(command.argv)})
        yield f"these options of QEMU differ: {' '.join(changed) or 'their order'}"
    if saved.cpu != _cpu():
        yield "the host has another CPU"
    for stamp in saved.images:
        path = Path(stamp[0])
        if not path.exists() or _stamp(path) != stamp:
            yield f"{path} has changed"


def _options(argv: tuple[str, ...]) -> set[tuple[str, str]]:
    """Return pairs of options and values. The values may contain passwords."""
    return {(word, value) for word, value in pairwise((*argv, "")) if word.startswith("-")}


def _identities(nics: Iterable[GuestNic]) -> tuple[tuple[str, ...], ...]:
    return tuple((nic.name, nic.mac, *nic.addresses) for nic in nics)


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _cpu() -> str:
    """Return the host's CPU, as far as a guest may see it."""
    lines = _CPU.read_text().splitlines()
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(_CPU_LINES)))


def _build(document: Any) -> SavedVm:
    return SavedVm(
        argv=tuple(document["argv"]),
        qemu=document["qemu"],
        cpu=document["cpu"],
        nics=tuple(map(tuple, document["nics"])),
        images=tuple((path, size, changed) for path, size, changed in document["images"]),
    )
