"""``vmnet hooks``: the stages, their hooks and who answers them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vmnet import hookspecs, pipeline
from vmnet.cli.output import Parser, print_json, table
from vmnet.hooks import Hooks

_VARIABLES = {
    "capture": "VMNET_CAPTURE",
    "ipam": "VMNET_IPAM",
    "bridge": "VMNET_BRIDGE",
    "forwarder": "VMNET_FORWARDER",
    "devices": "VMNET_IPAM",
    "launch": "VMNET_LAUNCH",
}


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser("hooks", "List the stages, their hooks and the active strategies.")
    options = parser.parse_args(arguments)
    rows = list(_rows(pipeline.select(environ)))
    if options.json:
        print_json(rows)
        return 0
    lines = [
        (
            row["stage"],
            row["hook"],
            ", ".join(_text(one) for one in row["active"]) or "(none)",
            row["why"],
            _others(row),
        )
        for row in rows
    ]
    print(table(("stage", "hook", "active", "why", "also installed"), lines))
    return 0


def _rows(hooks: Hooks) -> Iterator[dict[str, Any]]:
    for module in hookspecs.STAGES:
        stage = module.__name__.rpartition(".")[2]
        for hook in (name for name in vars(module) if name.startswith("vmnet_")):
            able = [one for one in hooks.plugins.names if hooks.plugins.implements(one, hook)]
            chosen, why = _choice(hooks, stage, able)
            yield {
                "stage": stage,
                "hook": hook,
                "variable": _VARIABLES.get(stage),
                "why": why,
                "active": [_describe(hooks, one) for one in chosen],
                "others": [_describe(hooks, one) for one in able if one not in chosen],
            }


def _choice(hooks: Hooks, stage: str, able: list[str]) -> tuple[list[str], str]:
    """Who answers, in the order of the calls, and why it is them."""
    if stage == "settings":
        return able, "every plugin is asked"
    choice = getattr(hooks.selection, "ipam" if stage == "devices" else stage)
    return [one for one in choice.names if one in able], choice.reason


def _describe(hooks: Hooks, name: str) -> dict[str, str]:
    plugin = hooks.plugins.installed[name]
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
    }


def _text(plugin: dict[str, str]) -> str:
    return f"{plugin['name']} ({plugin['distribution']} {plugin['version']})"


def _others(row: dict[str, Any]) -> str:
    names = ", ".join(one["name"] for one in row["others"])
    return f"{names}: {row['variable']}=…" if names else "-"
