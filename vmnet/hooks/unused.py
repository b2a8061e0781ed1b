"""Name the settings of the environment that have no effect on a start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vmnet.hooks.selection import Selection
from vmnet.settings.core import IPAM
from vmnet.settings.table import Setting, Settings


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


def _obstacle(row: Setting[Any], settings: Settings) -> str:
    """Return the setting because of which a setting has no effect; empty if there is none."""
    for other in row.unless:
        if settings[other]:
            return f"with {_shown(other, settings)} (unset one of them)"
    if row.needs is None or settings[row.needs]:
        return ""
    if settings.is_given(row.needs):
        return f"with {_shown(row.needs, settings)} (unset one of them)"
    return f"without {row.needs.name} (set it, or unset {row.name})"


def _shown(row: Setting[Any], settings: Settings) -> str:
    return f"{row.name}={row.shown(settings.given[row.name])}"


def _selecting(strategy: str, strategies: Mapping[str, tuple[str, ...]]) -> str:
    """Return how to select a strategy; empty if the plugin is not a strategy."""
    variable = next((name for name, names in strategies.items() if strategy in names), "")
    if variable == IPAM.name:
        return f"add {strategy} to {variable}"
    return f"set {variable}={strategy}" if variable else ""
