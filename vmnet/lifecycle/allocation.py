"""What other systems allocate for the guest: recorded before they are asked, released at the end.

A start can be killed between any two instructions, so what is on the disk says what *may* have been
allocated, and a release follows in any case: after the machine, after a failed start, and failing
that, at the next start.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from attrs import evolve

from vmnet import log
from vmnet.errors import AllocationError, PluginError, StateError, VmnetError
from vmnet.hooks import Hooks
from vmnet.identity import Identity, Interface
from vmnet.lifecycle import files, folder, state
from vmnet.noun import Noun, noun
from vmnet.serial import from_json, plain
from vmnet.settings import RUN_DIR

VERSION = 1
_log = logging.getLogger(__name__)


@noun
class Allocation(Noun):
    """:param identity: what the strategy was given, and is given again to release it"""

    strategy: str
    identity: Identity


@noun
class Record(Noun):
    """Whatever network namespace it was made in: the next one's start releases it too."""

    version: int
    allocations: tuple[Allocation, ...]


def allocate(hooks: Hooks, identity: Identity) -> Identity:
    """What the selected strategies make of an identity, each of what the one before made.

    :raises VmnetError: one has nothing to give; the record tells what has to be released
    """
    folder.make(hooks.settings[RUN_DIR])
    path = state.allocations(hooks.settings[RUN_DIR])
    made: tuple[Allocation, ...] = ()
    for name in hooks.allocators:
        made = (*made, Allocation(name, identity))
        _save(path, made)
        identity = hooks.allocate(name, identity)
        _log.info("allocated by %s: %s", name, _addresses(identity))
    interfaces = tuple(map(_with_router, identity.interfaces))
    return evolve(identity, interfaces=interfaces)


def release(hooks: Hooks) -> None:
    """Release all that the record holds, the last allocated first.

    :raises AllocationError: a strategy can't; what it holds stays on record
    :raises StateError: the record can't be read
    """
    path = state.allocations(hooks.settings[RUN_DIR])
    kept: list[Allocation] = []
    for one in reversed(_load(path)):
        try:
            _release(hooks, one)
        except VmnetError as error:
            log.report(error)
            kept.insert(0, one)
    if not kept:
        path.unlink()
        return
    _save(path, tuple(kept))
    raise AllocationError(
        f"not released: what {', '.join(one.strategy for one in kept)} may have allocated",
        f"mend what is reported above and start again, or give it up with `rm {path}`",
    )


def _release(hooks: Hooks, one: Allocation) -> None:
    if one.strategy not in hooks.plugins.names:
        raise PluginError(f"the plugin {one.strategy} is no longer installed", "install it again")
    hooks.release(one.strategy, one.identity)
    _log.info("released by %s: what it had allocated for %s", one.strategy, one.identity.hostname)


def _addresses(identity: Identity) -> str:
    return ", ".join(
        f"{one.name} {' '.join(map(str, one.addresses)) or 'no address'}"
        for one in identity.interfaces
    )


def _with_router(interface: Interface) -> Interface:
    """A gateway that the container did not have is yet to be asked for its link-local address."""
    gateways = {one.gateway for one in interface.routes_of(6) if one.gateway}
    known = interface.router
    if not gateways or (known is not None and known.gateway in gateways):
        return interface
    from vmnet.net import router

    return evolve(interface, router=router.find(interface))


def _save(path: Path, made: tuple[Allocation, ...]) -> None:
    files.write(path, json.dumps(plain(Record(VERSION, made))).encode(), durable=True)


def _load(path: Path) -> tuple[Allocation, ...]:
    try:
        record = from_json(files.read(path).decode(), Record)
        if record.version != VERSION:
            raise ValueError(f"version {record.version}, where this vmnet writes {VERSION}")
    except (OSError, ValueError) as error:
        raise StateError(
            f"can't read {path}: {error}",
            "it tells what other systems have allocated for this container; release that there "
            f"and remove it with `rm {path}`",
        ) from None
    return record.allocations
