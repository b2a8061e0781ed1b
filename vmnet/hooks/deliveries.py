"""Check the paths of a delivery: a plugin may write only files of its own in the run directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from vmnet.errors import PluginError
from vmnet.hooks.discovery import Plugin
from vmnet.model.delivery import Delivery
from vmnet.model.names import shown

# Files of the core in the run directory.
RESERVED = frozenset(
    (
        *("state.json", "allocations.json", "vm.json", "uplinks.json", "command.json"),
        "saved.json",
        *("answered", ".check", "hotplug.lock", "snapshot.lock", "metrics.pid"),
        *("guard.pid", "keeper.pid", "qmp.sock", "guard.sock", "console.sock", "agent.sock"),
        *("swtpm.pid", "swtpm.sock", "swtpm.log", "tpm"),
        *("uefi-variables.fd", "secureboot-variables.fd"),
        *(f"virtiofsd{number}.{kind}" for number in range(3) for kind in ("pid", "sock", "log")),
    )
)

# The files that the keeper makes next to a PID file.
_OF_THE_KEEPER = re.compile(r"\.restarts?$|^keeper-.*\.pid$")


def require_own_files(
    plugin: Plugin, hook: str, delivery: Delivery, run_dir: Path, taken: dict[Path, Plugin]
) -> None:
    """Require that the paths are below the run directory, free, and not those of the core.

    :param taken: the paths of earlier deliveries, with their plugins; extended by this delivery
    :raises PluginError: a path is not allowed
    """
    for path in _paths(delivery):
        if fault := _fault(path, run_dir, taken.get(path)):
            raise PluginError(
                f"plugin {plugin} returned {shown(str(path))} from {hook}, which {fault}",
                f"use a file name of the plugin's own below {run_dir}, such as {plugin.name}.conf",
            )
        taken[path] = plugin


def _paths(delivery: Delivery) -> Iterator[Path]:
    yield from (file.path for file in delivery.files)
    for daemon in delivery.daemons:
        yield daemon.pidfile
        if daemon.log is not None:
            yield daemon.log


def _fault(path: Path, run_dir: Path, owner: Plugin | None) -> str:
    """Return what is wrong with a path, or an empty string."""
    if "\0" in str(path):
        return "contains a NUL"
    if os.path.normpath(path) != str(path):
        return "is not in its shortest form"
    if run_dir not in path.parents:
        return "is not below the run directory"
    if path.parent == run_dir and (path.name in RESERVED or _OF_THE_KEEPER.search(path.name)):
        return "is a file of vmnet"
    return f"plugin {owner} has delivered already" if owner else ""
