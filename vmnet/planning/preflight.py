"""Check the conditions outside a plan: privileges, the kernel, limits, and other VMs.

A start makes these checks before it changes anything, and `vmnet check` reports each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from vmnet.model.delivery import Delivery
from vmnet.model.devices import Device, Disk, daemon_of
from vmnet.planning import capabilities
from vmnet.planning.hardware import host
from vmnet.planning.storage import state_folder
from vmnet.planning.storage.state_folder import StateFolder

# The name of the check, and a function that returns a detail, or raises VmnetError.
Check = tuple[str, Callable[[], str]]


def before_planning(cpus: int) -> Iterator[Check]:
    """Yield the checks that need no plan.

    :param cpus: the number of the guest's CPUs
    """
    yield "user", _user
    yield "host", lambda: _host(cpus)


def after_planning(
    deliveries: Sequence[Delivery],
    devices: Sequence[Device],
    own: Mapping[Path, str],
    state: StateFolder,
) -> Iterator[Check]:
    """Yield the checks of a plan's daemons and devices.

    :param own: the variables of the user's disks
    """
    yield "daemons", lambda: _daemons(deliveries, devices)
    if state.is_used:
        yield "state", lambda: state_folder.require_free(state)
    yield "disk", lambda: _disk(deliveries, devices, own, state)


def require(checks: Iterable[Check]) -> None:
    """Make all checks.

    :raises vmnet.errors.VmnetError: the first check that failed
    """
    for _, check in checks:
        check()


def _user() -> str:
    capabilities.require_root()
    return "root"


def _host(cpus: int) -> str:
    host.require(cpus)
    return f"Linux {os.uname().release}; enough open files, processes and threads"


def _daemons(deliveries: Sequence[Delivery], devices: Iterable[Device]) -> str:
    daemons = [daemon for delivery in deliveries for daemon in delivery.daemons]
    daemons += filter(None, map(daemon_of, devices))
    capabilities.require_all(
        (name, daemon.name) for daemon in daemons for name in daemon.capabilities
    )
    return ", ".join(daemon.name for daemon in daemons) or "none"


def _disk(
    deliveries: Sequence[Delivery],
    devices: Sequence[Device],
    own: Mapping[Path, str],
    state: StateFolder,
) -> str:
    written = {file.path for delivery in deliveries for file in delivery.files}  # by the start
    disks = [d for d in devices if isinstance(d, Disk) and d.path not in written]
    if not disks:
        return "none"
    from vmnet.planning.storage.image import lock

    lock.require_free(disks, own, state.path)
    return f"no other VM uses {', '.join(str(disk.path) for disk in disks)}"
