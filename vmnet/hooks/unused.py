"""Name the settings of the environment that have no effect on a start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vmnet.hooks.selection import Selection
from vmnet.model.nic_models import VIRTIO
from vmnet.model.wiring import Wiring
from vmnet.settings.core import (
    BOOT,
    BRIDGE,
    DEMO,
    DISK,
    DISK_BACKING,
    FURTHER_DISKS,
    HOST_NETWORK,
    HOTPLUG,
    IPAM,
    LOST_ROUTES,
    NIC_MODEL,
    QUEUES,
    RESTORE_NETWORK,
    VHOST,
)
from vmnet.settings.table import Setting, Settings

# Settings that have no effect with certain values of another one.
_BY_VALUE: tuple[tuple[tuple[Setting[Any], ...], Setting[Any], Callable[[Settings], bool]], ...] = (
    ((QUEUES, VHOST), NIC_MODEL, lambda settings: VIRTIO not in settings[NIC_MODEL].named),
    ((LOST_ROUTES,), HOST_NETWORK, lambda settings: settings[HOST_NETWORK] == "take"),
    ((DEMO,), BOOT, lambda settings: "network" in settings[BOOT]),
)


def lines(
    settings: Settings, selection: Selection, strategies: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    """Yield a line for each such setting, with the remedy.

    :param strategies: for each selecting variable, the names of the plugins that qualify
    """
    selected = {name for choice in selection.choices.values() for name in choice.names}
    for row in filter(settings.is_given, settings):
        names = (row.strategy,) if isinstance(row.strategy, str) else row.strategy
        if any(names) and not selected & set(names):
            remedies = (_selecting(names[0], strategies), "unset it")
            yield (
                f"{settings.origin(row)} is set for {' or '.join(names)}, which is not selected "
                f"({' or '.join(filter(None, remedies))})"
            )
        elif obstacle := _obstacle(row, settings):
            yield f"{settings.origin(row)} has no effect {obstacle}"


def with_wiring(
    settings: Settings,
    wiring: Wiring,
    observers: Callable[[Setting[Any]], tuple[str, ...]],
    fixed: str,
) -> Iterator[str]:
    """Yield a line for each setting that has no effect with a wiring, with the remedy.

    :param observers: returns the names of the bridge strategies that give a setting an effect
    :param fixed: the strategy that keeps a running VM from getting a network; empty if none does
    """
    strategy = wiring.strategy
    for row in filter(settings.is_given, settings):
        cause, remedy = "", ""
        if row.by_bridge and strategy not in (able := observers(row)):
            cause = f"{strategy} connects the guest"
            remedy = f"set {BRIDGE.name}={able[0]}, or " if able else ""
        elif row in (LOST_ROUTES, RESTORE_NETWORK) and not wiring.takes_uplinks:
            cause = f"{strategy} leaves the container's network as it is"
        elif row is HOTPLUG and fixed:
            cause = f"{fixed} can't add a NIC to a running VM"
        if cause:
            yield f"{settings.origin(row)} has no effect, because {cause} ({remedy}unset it)"


def _obstacle(row: Setting[Any], settings: Settings) -> str:
    """Return the setting because of which a setting has no effect; empty if there is none."""
    for other in (*row.unless, *_replacing(row, settings)):
        if settings[other]:
            return f"with {_shown(other, settings)} (unset one of them)"
    if row is DISK_BACKING and not any(settings[disk] for disk in (DISK, *FURTHER_DISKS)):
        return f"without {DISK.name} (set it, or unset {row.name})"
    if row.needs is None or settings[row.needs]:
        return ""
    if settings.is_given(row.needs):
        return f"with {_shown(row.needs, settings)} (unset one of them)"
    return f"without {row.needs.name} (set it, or unset {row.name})"


def _replacing(row: Setting[Any], settings: Settings) -> Iterator[Setting[Any]]:
    """Yield the settings whose values leave a setting without effect."""
    for rows, other, is_replaced in _BY_VALUE:
        if row in rows and is_replaced(settings):
            yield other


def _shown(row: Setting[Any], settings: Settings) -> str:
    return f"{row.name}={row.shown(settings.given[row.name])}"


def _selecting(strategy: str, strategies: Mapping[str, tuple[str, ...]]) -> str:
    """Return how to select a strategy; empty if the plugin is not a strategy."""
    variable = next((name for name, names in strategies.items() if strategy in names), "")
    if variable == IPAM.name:
        return f"add {strategy} to {variable}"
    return f"set {variable}={strategy}" if variable else ""
