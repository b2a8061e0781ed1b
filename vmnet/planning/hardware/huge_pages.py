"""Check that the host has huge pages for the guest's memory, if the settings ask for them."""

from __future__ import annotations

from vmnet import engine
from vmnet.errors import MachineError
from vmnet.planning.hardware import container_limits, memory

_REMEDY = "or unset VMNET_HUGEPAGES"


def require(wanted: int) -> tuple[int, int]:
    """Return the guest's memory, rounded up to whole huge pages, and the size of such a page.

    :param wanted: the guest's memory in bytes
    :raises MachineError: the host has fewer free pages, or the container may use fewer
    """
    free, size = memory.huge_pages()
    if not size:
        raise MachineError("VMNET_HUGEPAGES=on, but the host's kernel has no huge pages", _REMEDY)
    count = -(-wanted // size)
    shown = f"{count} huge pages of {size >> 20} MiB"
    if free < count:
        raise MachineError(
            f"VMNET_HUGEPAGES=on: the guest's memory needs {shown}, but the host has {free} free",
            f"on the host `sysctl vm.nr_hugepages={count}` for this VM alone, {_REMEDY}",
        )
    limit = container_limits.huge_pages(size)
    if limit is not None and limit < count * size:
        raise MachineError(
            f"VMNET_HUGEPAGES=on: the guest's memory needs {shown}, but the container may use "
            f"{limit // size}",
            f"{_limit(count * size)}, {_REMEDY}",
        )
    return count * size, size


def _limit(needed: int) -> str:
    if engine.is_pod():
        return f"set the pod's limit `hugepages-2Mi: {needed >> 20}Mi`"
    return "raise the limit `hugetlb` of the container's control group"
