"""Choose the guest's memory and CPUs from the settings and the container's limits."""

from __future__ import annotations

import math

from vmnet.planning.hardware import architecture, container_limits, memory
from vmnet.settings import core
from vmnet.settings.table import Settings
from vmnet.settings.values import Share

_DEFAULT_MEMORY, _LEAST_MEMORY, _MIB = 512 << 20, 64 << 20, 1 << 20


def memory_size(settings: Settings) -> int:
    """Return the guest's memory in bytes.

    Without a size in the settings it is the container's limit, less the room for QEMU, or 512 MiB
    without a limit. A percentage counts from the limit, or else from the host's memory.
    """
    wanted, limit, qemu = settings[core.MEMORY], memory.limit(), qemu_memory(settings)
    if isinstance(wanted, int):
        return wanted
    if isinstance(wanted, Share):
        whole = limit or memory.installed() or _DEFAULT_MEMORY
        return _fitted(whole * wanted.percent // 100, whole - qemu)
    return _DEFAULT_MEMORY if limit is None else _fitted(limit, limit - qemu)


def qemu_memory(settings: Settings) -> int:
    """Return the bytes that QEMU needs in addition to the guest's memory."""
    return memory.QEMU + architecture.choose(settings).flash


def _fitted(size: int, most: int) -> int:
    """Return a size in whole MiB, at most what QEMU leaves, but at least 64 MiB."""
    return max(min(size, most) // _MIB * _MIB, _LEAST_MEMORY)


def cpu_count(settings: Settings) -> int:
    """Return the number of the guest's CPUs.

    Without a number in the settings it is the container's limit, rounded up, or 1 without a limit.
    """
    wanted = settings[core.CPUS]
    if isinstance(wanted, int):
        return wanted
    limit, usable = container_limits.cpus(), container_limits.usable_cpus()
    if limit is None:
        return usable if wanted == "max" else 1
    return min(max(math.ceil(limit), 1), usable)
