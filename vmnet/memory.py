"""How much memory there is: of the host, and of it for the container."""

from __future__ import annotations

from pathlib import Path

from vmnet.errors import MachineError

_MEMINFO = Path("/proc/meminfo")
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_ALWAYS, _NEVER = "1", "2"  # proc_sys_vm(5)
# Where a container has a control group namespace of its own, as engines make it, its own group is
# here: version 2 (cgroups(7)), else version 1.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
# What QEMU takes in addition to the guest's memory, about: 60 MiB and its buffers, and in emulation
# 128 MiB of translated code (vmnet_qemu.arguments).
_QEMU = 300 << 20


def require(wanted: int) -> None:
    """Have the host grant the guest's memory: else QEMU would end at once, the network taken over.

    :param wanted: in bytes
    :raises MachineError: the kernel would refuse it
    """
    granted = _granted()
    if granted is not None and wanted > granted:
        raise MachineError(
            f"VMNET_MEMORY is {_shown(wanted)}, and the host has {_shown(granted)} with its swap",
            "set it to less: QEMU asks for all of it at once",
        )


def shortage(wanted: int) -> str:
    """Why the kernel may end QEMU once the guest uses its memory; empty if it leaves it alone.

    :param wanted: the guest's memory in bytes
    """
    limit = next((int(text) for text in map(_read, _LIMITS) if text.isdecimal()), None)
    if limit is None or limit >= wanted + _QEMU or limit >= _installed(_meminfo()):
        return ""
    return f"the container may use {_shown(limit)}, guest and QEMU together"


def _granted() -> int | None:
    """What the kernel grants one program at most (proc_sys_vm(5)); None if it never refuses."""
    fields, mode = _meminfo(), _read(_OVERCOMMIT)
    if mode == _ALWAYS or not fields:
        return None
    if mode == _NEVER:
        return fields["CommitLimit"] - fields["Committed_AS"]
    return _installed(fields)


def _installed(fields: dict[str, int]) -> int:
    return fields.get("MemTotal", 0) + fields.get("SwapTotal", 0)


def _meminfo() -> dict[str, int]:
    """Sizes in bytes, by their names (proc_meminfo(5))."""
    lines = (line.split() for line in _read(_MEMINFO).splitlines())
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in lines if words[2:] == ["kB"]}


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # not there, or not for us: this is advice, and no start depends on it
        return ""


def _shown(size: int) -> str:
    return f"{size >> 20} MiB"
