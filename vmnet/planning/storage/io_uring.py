"""Find out whether QEMU can use io_uring."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_SETUP = 425  # io_uring_setup(2), on every architecture
_PARAMETERS = 120  # bytes of struct io_uring_params
_DISABLED = Path("/proc/sys/kernel/io_uring_disabled")


def obstacle() -> str:
    """Return what prevents io_uring; empty if nothing does.

    Docker's seccomp profile does, since version 25.
    """
    if _DISABLED.exists() and (value := _DISABLED.read_text().strip()) != "0":
        return f"the host has kernel.io_uring_disabled={value}"
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(_SETUP, 1, ctypes.create_string_buffer(_PARAMETERS))
    if fd < 0:
        reason = os.strerror(ctypes.get_errno())
        return f"the kernel or the container's seccomp profile refuses it: {reason}"
    os.close(fd)
    return ""
