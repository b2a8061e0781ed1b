"""Compare the guest's memory with the host's memory and the container's limit."""

from __future__ import annotations

from pathlib import Path

from vmnet.errors import MachineError
from vmnet.planning.hardware import container_limits

_MEMINFO = Path("/proc/meminfo")
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_ALWAYS, _NEVER = "1", "2"  # proc_sys_vm(5)
# Bytes that QEMU needs in addition to the guest's memory, roughly: 60 MiB, its buffers, and in
# emulation 128 MiB of translated code (vmnet_qemu.arguments). Larger flash memory comes on top.
QEMU = 300 << 20


def require(wanted: int) -> None:
    """Check that the kernel grants the guest's memory.

    Without this check, QEMU would exit after vmnet has taken over the network.

    :param wanted: the guest's memory in bytes
    :raises MachineError: the kernel would refuse the allocation
    """
    granted = _granted()
    if granted is not None and wanted > granted:
        raise MachineError(
            f"VMNET_MEMORY is {_shown(wanted)}, but the host grants at most {_shown(granted)}, "
            "including swap",
            "reduce VMNET_MEMORY: QEMU allocates all of it at once",
        )


def shortage(wanted: int, qemu: int = QEMU) -> str:
    """Return why the kernel may kill QEMU when the guest uses its memory; empty if it will not.

    :param wanted: the guest's memory in bytes
    :param qemu: what QEMU needs in addition
    """
    lowest = limit()
    if lowest is None or lowest >= wanted + qemu:
        return ""
    return f"the container's memory limit is {_shown(lowest)} for the guest and QEMU"


def limit() -> int | None:
    """Return the container's memory limit in bytes; None if it has none below the host's memory."""
    lowest, fields = container_limits.memory(), _meminfo()
    return None if lowest is None or lowest >= _with_swap(fields) else lowest


def installed() -> int:
    """Return the host's memory in bytes; 0 if it is unknown."""
    return _meminfo().get("MemTotal", 0)


def huge_pages() -> tuple[int, int]:
    """Return the number of the host's free huge pages, and their size in bytes; 0 if unknown."""
    fields = _meminfo()
    counts = {
        words[0].rstrip(":"): int(words[1])
        for words in map(str.split, _read(_MEMINFO).splitlines())
        if words[0].startswith("HugePages_")
    }
    free = counts.get("HugePages_Free", 0) - counts.get("HugePages_Rsvd", 0)
    return free, fields.get("Hugepagesize", 0)


def _granted() -> int | None:
    """Return the most that the kernel grants a program (proc_sys_vm(5)); None if it never refuses.

    In bytes. The result is also None if the sizes can't be read.
    """
    fields, mode = _meminfo(), _read(_OVERCOMMIT)
    if mode == _ALWAYS or not fields:
        return None
    if mode == _NEVER:
        return fields["CommitLimit"] - fields["Committed_AS"]
    return _with_swap(fields)


def _with_swap(fields: dict[str, int]) -> int:
    return fields.get("MemTotal", 0) + fields.get("SwapTotal", 0)


def _meminfo() -> dict[str, int]:
    """Return sizes in bytes by name (proc_meminfo(5))."""
    lines = (line.split() for line in _read(_MEMINFO).splitlines())
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in lines if words[2:] == ["kB"]}


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # missing or unreadable: the checks are advice, and no start depends on them
        return ""


def _shown(size: int) -> str:
    return f"{size >> 20} MiB"
