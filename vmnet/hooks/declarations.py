"""Check the settings that a plugin declares, and run their parsers like hooks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs

from vmnet.errors import PluginError
from vmnet.hooks import invoke
from vmnet.hooks.discovery import Plugin
from vmnet.settings.table import Setting

_NAME = re.compile(r"VMNET_[A-Z0-9_]+", re.ASCII)


def guarded(plugin: Plugin, rows: Sequence[Any], seconds: float) -> tuple[Setting[Any], ...]:
    """Return the rows with the plugin's name and with parsers that run under a time limit.

    :raises PluginError: a row is no setting, or its name does not begin with ``VMNET_``
    """
    return tuple(_guarded(plugin, row, seconds) for row in rows)


def _guarded(plugin: Plugin, row: Any, seconds: float) -> Setting[Any]:
    fault = _fault(row)
    if fault:
        raise PluginError(
            f"plugin {plugin} declares {fault} in vmnet_settings",
            "create rows with vmnet.api.setting or optional, named VMNET_<PLUGIN>_…",
        )
    parse = partial(_parse, plugin, row, seconds)
    guarded: Setting[Any] = attrs.evolve(
        row, parse=parse, strategy=plugin.name, declarer=f"plugin {plugin}"
    )
    return guarded


def _fault(row: Any) -> str:
    """Return what is wrong with a row, or an empty string."""
    if not isinstance(row, Setting):
        return repr(row)
    return "" if _NAME.fullmatch(row.name) else f"a setting named {row.name!r}"


def _parse(plugin: Plugin, row: Setting[Any], seconds: float, text: str) -> Any:
    """Parse a value with the time limit and the other rules of a hook.

    :raises ValueError: the parser refuses the value
    :raises PluginError: the parser fails in any other way
    """
    parse = partial(_value_or_error, row, text)
    value, error = invoke.call(plugin, f"failed to parse {row.name}", parse, seconds)
    if error is not None:
        raise error
    return value


def _value_or_error(row: Setting[Any], text: str) -> tuple[Any, ValueError | None]:
    """Return a ValueError, which is an answer, so that it is not taken for a fault."""
    try:
        return row.parse(text), None
    except ValueError as error:
        return None, error
