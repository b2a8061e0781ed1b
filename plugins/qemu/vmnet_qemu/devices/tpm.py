"""The arguments for a TPM. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Opened


def words(files: tuple[Opened, ...], driver: str) -> Iterator[str]:
    """Yield the arguments of a TPM that a daemon such as swtpm emulates.

    :param files: the connection to the daemon
    :param driver: of the device
    """
    (connection,) = files
    yield from ("-chardev", f"socket,id=tpm,fd={connection.fd}")
    yield from ("-tpmdev", "emulator,id=tpm,chardev=tpm")
    yield from ("-device", f"{driver},tpmdev=tpm")
