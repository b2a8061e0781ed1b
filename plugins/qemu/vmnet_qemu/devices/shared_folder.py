"""The arguments for shared folders (virtiofs). Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Opened, SharedFolder


def words(
    shared: SharedFolder, number: int, files: tuple[Opened, ...], place: str
) -> Iterator[str]:
    """Yield the arguments of a shared folder, with a number of its own from 0.

    :param files: the connection to the daemon
    """
    (connection,) = files
    yield from ("-chardev", f"socket,id=share{number},fd={connection.fd}")
    device = f"vhost-user-fs-pci,chardev=share{number},tag={shared.tag},{place}"
    yield from ("-device", device)
