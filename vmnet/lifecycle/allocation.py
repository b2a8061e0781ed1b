"""Addresses that other systems allocate for the guest: recorded before, released at the end.

A start can be killed between any two instructions, so the record on the disk states what *may* have
been allocated. vmnet releases it when the VM has ended, when its start has failed, or at the next
start.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from attrs import evolve

from vmnet import log
from vmnet.errors import AllocationError, PluginError, StateError, VmnetError
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import files, run_directory, state
from vmnet.model.base import frozen
from vmnet.model.identity import Identity, Interface
from vmnet.model.serial import from_json, plain
from vmnet.settings.core import RUN_DIR

VERSION = 1
_log = logging.getLogger(__name__)


@frozen
class Allocation:
    """A possible allocation by one strategy.

    :param identity: the argument of the strategy's allocation, and of its release
    """

    strategy: str
    identity: Identity


@frozen
class AllocationRecord:
    """All possible allocations. A start in any network namespace releases them."""

    version: int
    allocations: tuple[Allocation, ...]


def allocate(hooks: Hooks, identity: Identity) -> Identity:
    """Pass an identity through the selected strategies in turn and return the result.

    :raises VmnetError: a strategy cannot allocate; the record states what must be released
    """
    run_directory.make(hooks.settings[RUN_DIR])
    path = state.allocations_path(hooks.settings[RUN_DIR])
    allocations: tuple[Allocation, ...] = ()
    for name in hooks.allocators:
        allocations = (*allocations, Allocation(name, identity))
        _save(path, allocations)
        identity = hooks.allocate(name, identity)
        _log.info(
            "allocated by %s: %s",
            name,
            _addresses(identity),
            extra={"event": "addresses.allocated"},
        )
    interfaces = tuple(map(_with_router, identity.interfaces))
    return evolve(identity, interfaces=interfaces)


def release(hooks: Hooks) -> None:
    """Release all recorded allocations, newest first.

    :raises AllocationError: a strategy failed; its allocation stays on record
    :raises StateError: the record can't be read
    """
    path = state.allocations_path(hooks.settings[RUN_DIR])
    kept: list[Allocation] = []
    for allocation in reversed(_load(path)):
        try:
            _release(hooks, allocation)
        except VmnetError as error:
            log.report(error)
            kept.insert(0, allocation)
    if not kept:
        path.unlink()
        return
    _save(path, tuple(kept))
    strategies = ", ".join(allocation.strategy for allocation in kept)
    raise AllocationError(
        f"not released: what {strategies} may have allocated",
        f"fix the errors above and start again, or give up the allocations with `rm {path}`",
    )


def _release(hooks: Hooks, allocation: Allocation) -> None:
    name, identity = allocation.strategy, allocation.identity
    if name not in hooks.plugins.names:
        raise PluginError(f"the plugin {name} is no longer installed", "install it again")
    hooks.release(name, identity)
    _log.info(
        "released by %s: the allocations for %s",
        name,
        identity.hostname,
        extra={"event": "addresses.released"},
    )


def _addresses(identity: Identity) -> str:
    return ", ".join(
        f"{interface.name} {' '.join(map(str, interface.addresses)) or 'no address'}"
        for interface in identity.interfaces
    )


def _with_router(interface: Interface) -> Interface:
    """Find the link-local address of an IPv6 gateway that the container did not have."""
    gateways = {route.gateway for route in interface.routes_of(6) if route.gateway}
    known = interface.router
    if not gateways or (known is not None and known.gateway in gateways):
        return interface
    from vmnet.net import router

    return evolve(interface, router=router.find(interface))


def _save(path: Path, allocations: tuple[Allocation, ...]) -> None:
    files.write(
        path, json.dumps(plain(AllocationRecord(VERSION, allocations))).encode(), durable=True
    )


def _load(path: Path) -> tuple[Allocation, ...]:
    try:
        record = from_json(files.read(path).decode(), AllocationRecord)
        if record.version != VERSION:
            raise ValueError(f"version {record.version}, but this vmnet writes {VERSION}")
    except (OSError, ValueError) as error:
        raise StateError(
            f"can't read {path}: {error}",
            "it lists what other systems have allocated for this container; release that there "
            f"and remove the file with `rm {path}`",
        ) from None
    return record.allocations
