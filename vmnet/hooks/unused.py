"""Name the settings that the environment sets for strategies that are not selected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vmnet.hooks.selection import Selection
from vmnet.settings.core import IPAM
from vmnet.settings.table import Settings


def lines(
    settings: Settings, selection: Selection, strategies: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    """Yield a line for each such setting, with the remedy.

    :param strategies: for each selecting variable, the names of the plugins that qualify
    """
    selected = {name for choice in selection.choices.values() for name in choice.names}
    for row in settings:
        names = (row.strategy,) if isinstance(row.strategy, str) else row.strategy
        if any(names) and not selected & set(names) and settings.is_given(row):
            remedies = (_selecting(names[0], strategies), "unset it")
            yield (
                f"{settings.origin(row)} is set for {' or '.join(names)}, which is not selected "
                f"({' or '.join(filter(None, remedies))})"
            )


def _selecting(strategy: str, strategies: Mapping[str, tuple[str, ...]]) -> str:
    """Return how to select a strategy; empty if the plugin is not a strategy."""
    variable = next((name for name, names in strategies.items() if strategy in names), "")
    if variable == IPAM.name:
        return f"add {strategy} to {variable}"
    return f"set {variable}={strategy}" if variable else ""
