"""The arguments for the guest's memory. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Machine

_MIB = 1 << 20


def arguments(machine: Machine) -> Iterator[str]:
    """Yield the size, and the object that takes the memory from huge pages."""
    size = f"{-(-machine.memory // _MIB)}M"
    yield from ("-m", size)
    if machine.huge_page:
        # All of it at the start, because QEMU could not get a page later that others have taken.
        pages = f"hugetlb=on,hugetlbsize={machine.huge_page // _MIB}M,share=on,prealloc=on"
        yield from ("-object", f"memory-backend-memfd,id=memory,size={size},{pages}")


def machine_type(machine: Machine, kind: str) -> str:
    """Return the value of ``-machine`` with the object that has the memory."""
    return f"{kind},memory-backend=memory" if machine.huge_page else kind
