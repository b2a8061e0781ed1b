"""The container's own limits of memory and CPUs, from its control groups (cgroups(7)).

A limit of a parent, such as a Kubernetes pod's, counts as well if the container can see it. With
version 2 and a control group namespace, which engines create, it sees only its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def memory() -> int | None:
    """Return the lowest memory limit in bytes, or None without a limit.

    Version 1 expresses no limit by a number larger than any memory.
    """
    limits = [int(text) for text in _memory_limits() if text.isdecimal()]
    return min(limits, default=None)


def cpus() -> float | None:
    """Return the lowest number of CPUs whose time the container may use; None without a limit.

    A set of CPUs is a limit if the host has more (cpuset(7)). CPUs that the host keeps from all
    programs (isolcpus) are not in question here.
    """
    limits = [
        int(quota) / int(period)
        for quota, period in _cpu_limits()
        if quota.isdecimal() and period.isdecimal() and int(period)
    ]
    sizes = [_size(cpus) for cpus in _cpu_sets() if cpus]
    limits += [size for size in sizes if size < (os.cpu_count() or 1)]
    return min(limits, default=None)


def huge_pages(size: int) -> int | None:
    """Return the lowest limit of memory in huge pages, in bytes; None without a limit.

    :param size: of a page, in bytes
    """
    name = f"{size >> 30}GB" if size >= 1 << 30 else f"{size >> 20}MB"
    texts = [_read(group / f"hugetlb.{name}.max") for group in _groups("")]
    texts += [_read(group / f"hugetlb.{name}.limit_in_bytes") for group in _groups("hugetlb")]
    return min((int(text) for text in texts if text.isdecimal()), default=None)


def usable_cpus() -> int:
    """Return the number of CPUs on which the container's processes may run (cpuset(7))."""
    return len(os.sched_getaffinity(0))


def _memory_limits() -> Iterator[str]:
    for group in _groups(""):
        yield _read(group / "memory.max")
    for group in _groups("memory"):
        yield _read(group / "memory.limit_in_bytes")
        # Includes the limits of parents that the container can't see.
        statistics = (line.partition(" ") for line in _read(group / "memory.stat").splitlines())
        yield from (value for name, _, value in statistics if name == "hierarchical_memory_limit")


def _cpu_limits() -> Iterator[tuple[str, str]]:
    for group in _groups(""):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        yield quota, period
    for group in _groups("cpu"):
        yield _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")


def _cpu_sets() -> Iterator[str]:
    for group in (*_groups(""), *_groups("cpuset")):
        yield _read(group / "cpuset.cpus")


def _size(cpus: str) -> int:
    """Return the number of CPUs in a list such as 0-3,8."""
    ranges = (part.partition("-") for part in cpus.split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of the own control group and of its visible parents.

    :param controller: of version 1; empty for version 2
    """
    root = _ROOT / controller
    for line in _read(_OWN).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = Path(path)
            for group in (own, *own.parents):
                if ".." not in group.parts:  # of a process outside the namespace's root
                    yield root / group.relative_to("/")
            return
    yield root


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # missing or unreadable: a limit is advice, and no start depends on it
        return ""
