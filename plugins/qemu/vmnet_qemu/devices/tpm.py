"""The arguments for a TPM. Pure functions."""

from __future__ import annotations

import os
from collections.abc import Iterator

from vmnet.api import Tpm
from vmnet_qemu.quoting import escape


def words(tpm: Tpm) -> Iterator[str]:
    """Yield the arguments of a TPM that a daemon such as swtpm emulates."""
    yield from ("-chardev", f"socket,id=tpm,path={escape(str(tpm.socket))}")
    yield from ("-tpmdev", "emulator,id=tpm,chardev=tpm")
    yield from ("-device", f"{_interface()},tpmdev=tpm")


def _interface() -> str:
    return "tpm-crb" if os.uname().machine == "x86_64" else "tpm-tis-device"
