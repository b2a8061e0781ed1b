"""What DEL will need, on the disk before ADD is called.

The core's own record says that something may be allocated; this one, with which words it was asked
for. Both outlive a crash. The container's ID stays when all is released: the next start of the same
container has the same one, by which a DHCP server knows it again.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

from vmnet.api import AllocationError, files, from_json, frozen, to_json
from vmnet_ipam_cni.network import Network

VERSION = 1


@frozen
class Attachment:
    """An interface that ADD was, or was about to be, called for.

    :param parameters: CNI_CONTAINERID, CNI_IFNAME, CNI_ARGS
    :param result: what ADD answered; None where it was not seen
    """

    network: Network
    parameters: dict[str, str]
    result: dict[str, Any] | None = None

    @property
    def interface(self) -> str:
        return self.parameters["CNI_IFNAME"]


@frozen
class Record:
    version: int
    container: str
    attachments: tuple[Attachment, ...] = ()


def load(path: Path) -> Record | None:
    """The record; None where there never was one.

    :raises AllocationError: it can't be read
    """
    try:
        record = from_json(path.read_text(encoding="utf-8"), Record)
        if record.version != VERSION:
            raise ValueError(f"version {record.version}, where this plugin writes {VERSION}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AllocationError(
            f"can't read {path}: {error}",
            "it tells what CNI plugins have allocated for this container; release that by hand "
            f"and remove it with `rm {path}`",
        ) from None
    return record


def save(path: Path, record: Record) -> None:
    """:raises vmnet.errors.StateError: the run directory can't be written"""
    files.write(path, to_json(record).encode(), durable=True)


def renewed(record: Record | None, hostname: str) -> Record:
    """A record without attachments, of the same container as far as that can be.

    Of another where the host name is another: a folder can be copied into another container, and
    two of one ID would release each other's. And where attachments have been given up by hand,
    since they may still be there.
    """
    label = re.sub(r"[^A-Za-z0-9_-]", "-", hostname).strip("-_")[:63] or "vm"
    if record and not record.attachments and record.container.rpartition("-")[0] == label:
        return record
    return Record(VERSION, f"{label}-{secrets.token_hex(8)}")
