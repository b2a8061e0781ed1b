"""``vmnet hooks``: list the stages, their hooks, the active strategies and broken plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from vmnet import __version__, hookspecs
from vmnet.errors import PluginError, VmnetError
from vmnet.hooks import discovery, loading
from vmnet.hooks.discovery import Broken, Plugin
from vmnet.hooks.loading import Plugins
from vmnet.hooks.selection import Choice, Selection, select_from
from vmnet.hooks.stages import STAGES, Stage
from vmnet.settings import core, table
from vmnet.terminal.colours import heading, styled
from vmnet.terminal.documents import print_json
from vmnet.terminal.options import Parser

_WIDTH = 100


@frozen
class Installation:
    """The installed plugins, and what the environment selects from them.

    :param selection: None if the environment does not select usable strategies
    :param problem: the first error of a start; None if there is none
    :param serves_dhcp: whether NO_DHCP is unset
    """

    plugins: Plugins
    broken: tuple[Broken, ...]
    selection: Selection | None
    problem: VmnetError | None
    serves_dhcp: bool = True


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser("hooks", "List the stages, their hooks and the active strategies.")
    options = parser.parse_args(arguments)
    installation = examine(environ)
    stages = list(_stages(installation))
    if options.json:
        print_json(_document(installation, stages))
    else:
        for stage in stages:
            _show_stage(stage)
        _show_broken(installation.broken)
    if installation.problem is not None:
        raise installation.problem
    return 0


def examine(environ: Mapping[str, str]) -> Installation:
    """Examine the installation as a start does, but continue after errors."""
    seconds = table.value(environ, core.HOOK_TIMEOUT)
    found, duplicates = discovery.survey()
    plugins, unloadable = loading.examine(found, seconds)
    broken = (*duplicates, *unloadable, *_with_broken_settings(plugins))
    usable = plugins.without(item.plugin.name for item in broken if item not in duplicates)
    problem: VmnetError | None = broken[0].error if broken else None
    parsed = None
    try:
        parsed = table.parse(environ, usable.settings())
        selection: Selection | None = select_from(usable, parsed)
    except VmnetError as error:
        selection, problem = None, problem or error
    serves_dhcp = parsed is None or not parsed[core.NO_DHCP]
    return Installation(usable, broken, selection, problem, serves_dhcp)


def _with_broken_settings(plugins: Plugins) -> Iterator[Broken]:
    """List the plugins whose settings are faulty."""
    for name, plugin in plugins.installed.items():
        try:
            plugins.declared(name)
        except PluginError as error:
            yield Broken(plugin, error)


def _stages(installation: Installation) -> Iterator[dict[str, Any]]:
    installed = installation.plugins.installed
    for stage in STAGES:
        implementers = {hook: _implementers(installation, hook) for hook in stage.hooks}
        available = [
            name
            for name in installation.plugins.names
            if any(name in names for names in implementers.values())
        ]
        choice = _choice(installation, stage, available)
        active = choice.names if choice else ()
        variable = stage.setting.name if stage.setting else None
        yield {
            "stage": stage.name,
            "variable": variable,
            "why": choice.reason if choice else None,
            "active": [_described(installed[name]) for name in active],
            "others": [
                {
                    **_described(installed[name]),
                    "choose": _assignments(installation, stage, name),
                }
                for name in available
                if name not in active
            ],
            "hooks": [
                {
                    "hook": hook,
                    "active": [name for name in active if name in names],
                    "others": [name for name in names if name not in active],
                }
                for hook, names in implementers.items()
            ],
        }


def _assignments(installation: Installation, stage: Stage, name: str) -> str:
    """Return the assignments that select a strategy. NO_DHCP excludes DHCP servers."""
    row = stage.setting
    if stage.follows is not None and row is not None:
        qualified = installation.plugins.strategies()[row.name]
        row = row if name in qualified else stage.follows.setting
    variable = row.name if row else None
    contradicts = name == core.IPAM.default and not installation.serves_dhcp
    prefix = f"{core.NO_DHCP.name}=false " if contradicts else ""
    return f"{prefix}{variable}={name}"


def _implementers(installation: Installation, hook: str) -> list[str]:
    plugins = installation.plugins
    return [name for name in plugins.names if plugins.implements(name, hook)]


def _choice(installation: Installation, stage: Stage, available: list[str]) -> Choice | None:
    """Return a stage's active plugins in the order of the calls, and the reason."""
    if stage.setting is None:
        return Choice(tuple(available), "vmnet calls every plugin")
    return installation.selection[stage] if installation.selection else None


def _described(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
    }


def _document(installation: Installation, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON document that docs/hooks.schema.json describes."""
    problem = installation.problem
    return {
        "vmnet": __version__,
        "contract": list(hookspecs.CONTRACT),
        "stages": stages,
        "broken": [
            {**_described(item.plugin), "reason": item.error.message, "hint": item.error.hint}
            for item in installation.broken
        ],
        "problem": problem
        and {"message": problem.message, "hint": problem.hint, "exit_code": problem.exit_code},
    }


def _show_stage(stage: dict[str, Any]) -> None:
    heading(stage["stage"])
    active = ", ".join(_labelled(plugin["name"], plugin) for plugin in stage["active"])
    print(_wrapped("  active  ", active or "none"))
    if stage["why"]:
        print(_wrapped("  why     ", stage["why"]))
    if stage["others"]:
        others = ", ".join(_labelled(plugin["choose"], plugin) for plugin in stage["others"])
        print(_wrapped("  others  ", others))
    width = max(len(hook["hook"]) for hook in stage["hooks"])
    for hook in stage["hooks"]:
        print(_wrapped(f"    {hook['hook']:<{width}}  ", _implementations(hook)))
    print()


def _labelled(label: str, plugin: dict[str, Any]) -> str:
    return f"{label} ({plugin['distribution']} {plugin['version']})"


def _implementations(hook: dict[str, Any]) -> str:
    if hook["active"]:
        return ", ".join(hook["active"])
    if hook["others"]:
        return styled(f"none active; implemented by {', '.join(hook['others'])}", "dim")
    return styled("not implemented", "dim")


def _show_broken(broken: tuple[Broken, ...]) -> None:
    if not broken:
        return
    heading("broken: fix or remove these plugins, or no VM starts")
    for item in broken:
        print(_wrapped("  ", styled(str(item.plugin), "red")))
        print(_wrapped("    ", item.error.message))
        print(_wrapped("    ", item.error.hint))
    print()


def _wrapped(lead: str, text: str) -> str:
    import textwrap

    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
