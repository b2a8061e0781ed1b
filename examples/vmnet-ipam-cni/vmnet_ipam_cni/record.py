"""The record of everything that DEL needs, written to disk before ADD is called.

The core's record states that an allocation may exist; this record states its parameters. Both
survive a crash. The container's ID stays after the release, so that a DHCP server recognises the
container at its next start.
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
    """An interface for which ADD was, or was about to be, called.

    :param parameters: CNI_CONTAINERID, CNI_IFNAME, CNI_ARGS
    :param result: result of ADD; None if ADD did not return
    """

    network: Network
    parameters: dict[str, str]
    result: dict[str, Any] | None = None

    @property
    def interface(self) -> str:
        return self.parameters["CNI_IFNAME"]


@frozen
class ContainerRecord:
    """The attachments of a container.

    :param container: the value of CNI_CONTAINERID
    """

    version: int
    container: str
    attachments: tuple[Attachment, ...] = ()


def load(path: Path) -> ContainerRecord | None:
    """Read the record; return None if it does not exist.

    :raises AllocationError: it can't be read
    """
    try:
        record = from_json(path.read_text(encoding="utf-8"), ContainerRecord)
        if record.version != VERSION:
            raise ValueError(f"version {record.version}, but this plugin needs {VERSION}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AllocationError(
            f"can't read {path}: {error}",
            "the file records the CNI allocations for this container; release them by hand, then "
            f"`rm {path}`",
        ) from None
    return record


def save(path: Path, record: ContainerRecord) -> None:
    """Write the record.

    :raises vmnet.errors.StateError: the run directory can't be written
    """
    files.write(path, to_json(record).encode(), durable=True)


def renewed(record: ContainerRecord | None, hostname: str) -> ContainerRecord:
    """Return a record without attachments, with the same container ID if possible.

    The ID is new if the host name differs: the run directory may have been copied to another
    container, and containers with the same ID would release each other's addresses. It is also new
    if attachments remain, because these may still be allocated.
    """
    label = re.sub(r"[^A-Za-z0-9_-]", "-", hostname).strip("-_")[:63] or "vm"
    if record and not record.attachments and record.container.rpartition("-")[0] == label:
        return record
    return ContainerRecord(VERSION, f"{label}-{secrets.token_hex(8)}")
