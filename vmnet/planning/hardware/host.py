"""Check that the kernel and the container's limits allow a start, before it changes anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vmnet import engine
from vmnet.errors import LaunchError

KERNEL = "5.3"  # pidfd_open(2)
FILES = 512  # vmnet passes descriptors from 100 on to QEMU, which opens more
# Processes and threads: vmnet and its helpers, QEMU's own threads, and some that access disks.
# Each virtual CPU is another thread.
TASKS = 32
# The container's own control group, version 2 and version 1 (cgroups(7)).
_TASK_LIMITS = (Path("/sys/fs/cgroup/pids.max"), Path("/sys/fs/cgroup/pids/pids.max"))


def require(cpus: int) -> None:
    """Check the system calls and the limits that a start and its helpers need.

    :param cpus: the number of the guest's CPUs
    :raises LaunchError: the kernel or the engine refuses a call, or a limit is too low
    """
    _require_calls()
    files = os.sysconf("SC_OPEN_MAX")
    if 0 <= files < FILES:
        raise LaunchError(
            f"this container may open only {files} files, but QEMU needs {FILES}",
            engine.limit("--ulimit nofile=", FILES),
        )
    tasks = next((int(text) for text in map(_read, _TASK_LIMITS) if text.isdecimal()), None)
    if tasks is not None and tasks < TASKS + cpus:
        raise LaunchError(
            f"this container may run only {tasks} processes and threads, but QEMU with {cpus} CPUs "
            f"and vmnet need {TASKS + cpus}",
            engine.limit("--pids-limit ", TASKS + cpus),
        )


def _require_calls() -> None:
    calls: tuple[tuple[str, Callable[[], int]], ...] = (
        ("pidfd_open", lambda: os.pidfd_open(os.getpid())),
        ("memfd_create", lambda: os.memfd_create("check")),
    )
    for name, call in calls:
        try:
            os.close(call())
        except OSError as error:
            raise LaunchError(
                f"{name}(2) is not available: {error.strerror}",
                f"vmnet needs Linux {KERNEL} or later, and an engine whose seccomp profile allows "
                "this call: update the engine",
            ) from None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # without this control group there is no limit to check
        return ""
