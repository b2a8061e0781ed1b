"""The arguments for a TPM. Pure functions."""

from __future__ import annotations

import os
from collections.abc import Iterator

from vmnet.api import Opened


def words(files: tuple[Opened, ...]) -> Iterator[str]:
    """Yield the arguments of a TPM that a daemon such as swtpm emulates.

    :param files: the connection to the daemon
    """
    (connection,) = files
    yield from ("-chardev", f"socket,id=tpm,fd={connection.fd}")
    yield from ("-tpmdev", "emulator,id=tpm,chardev=tpm")
    yield from ("-device", f"{_interface()},tpmdev=tpm")


def _interface() -> str:
    return "tpm-crb" if os.uname().machine == "x86_64" else "tpm-tis-device"
