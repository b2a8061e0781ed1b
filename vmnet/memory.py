"""How much memory there is: of the host, and of it for the container."""

from __future__ import annotations

from pathlib import Path

from vmnet.errors import MachineError

_MEMINFO = Path("/proc/meminfo")
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_ALWAYS = "1"  # proc_sys_vm(5)
# A container sees its own control group here: version 2 (cgroups(7)), else version 1.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_QEMU = 300 << 20  # what QEMU takes beside the guest's memory, about; more in emulation


def require(wanted: int) -> None:
    """Have the guest's memory fit on the host: QEMU would end at once, the network taken over.

    :param wanted: in bytes
    :raises MachineError: the kernel would refuse it
    """
    there = _of_host()
    if 0 < there < wanted and _read(_OVERCOMMIT) != _ALWAYS:
        raise MachineError(
            f"VMNET_MEMORY is {_shown(wanted)}, and the host has {_shown(there)}",
            "set it to less: a guest gets all of it at once",
        )


def shortage(wanted: int) -> str:
    """Why the kernel may end QEMU once the guest uses its memory; empty if it leaves it alone.

    :param wanted: the guest's memory in bytes
    """
    limit = next((int(text) for text in map(_read, _LIMITS) if text.isdecimal()), None)
    if limit is None or limit >= min(wanted + _QEMU, _of_host()):
        return ""
    return f"the container may use {_shown(limit)}, guest and QEMU together"


def _of_host() -> int:
    """Memory and swap, which is what the kernel lets one program ask for (proc_meminfo(5))."""
    lines = (line.split() for line in _read(_MEMINFO).splitlines())
    return sum(int(line[1]) << 10 for line in lines if line[0] in ("MemTotal:", "SwapTotal:"))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def _shown(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"
