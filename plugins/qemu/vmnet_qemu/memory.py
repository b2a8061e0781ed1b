"""The arguments for the guest's memory. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Machine, SharedFolder

_MIB = 1 << 20


def arguments(machine: Machine) -> Iterator[str]:
    """Yield the size, and the object that has the memory if QEMU's default would not do."""
    size = f"{-(-machine.memory // _MIB)}M"
    yield from ("-m", size)
    if not _has_object(machine):
        return
    # The daemons of shared folders map it, so it is a file in memory, whose descriptor they get.
    words = f"memory-backend-memfd,id=memory,size={size},share=on"
    if machine.huge_page:
        # All of it at the start, because QEMU could not get a page later that others have taken.
        words += f",hugetlb=on,hugetlbsize={machine.huge_page // _MIB}M,prealloc=on"
    yield from ("-object", words)


def machine_type(machine: Machine, kind: str) -> str:
    """Return the value of ``-machine`` with the object that has the memory."""
    return f"{kind},memory-backend=memory" if _has_object(machine) else kind


def _has_object(machine: Machine) -> bool:
    is_shared = any(isinstance(device, SharedFolder) for device in machine.devices)
    return bool(machine.huge_page) or is_shared
