"""``vmnet hooks``: the stages, their hooks, who answers them and why, and what is broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from vmnet import __version__, discovery, hooks, hookspecs, settings
from vmnet.cli.output import Parser, heading, print_json, styled
from vmnet.discovery import Broken, Plugin
from vmnet.errors import PluginError, VmnetError
from vmnet.hooks import Plugins
from vmnet.selection import Choice, Selection, select

_VARIABLES = {
    "capture": "VMNET_CAPTURE",
    "ipam": "VMNET_IPAM",
    "bridge": "VMNET_BRIDGE",
    "forwarder": "VMNET_FORWARDER",
    "devices": "VMNET_IPAM",
    "launch": "VMNET_LAUNCH",
}
_WIDTH = 100


@frozen
class Mirror:
    """An installation as a start finds it.

    :param selection: None where the environment chooses nothing that can be had
    :param problem: what stops a start first; None where nothing does
    :param serves_dhcp: NO_DHCP is not set
    """

    plugins: Plugins
    broken: tuple[Broken, ...]
    selection: Selection | None
    problem: VmnetError | None
    serves_dhcp: bool = True


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser("hooks", "List the stages, their hooks and the active strategies.")
    options = parser.parse_args(arguments)
    mirror = look(environ)
    stages = list(_stages(mirror))
    if options.json:
        print_json(_document(mirror, stages))
    else:
        for stage in stages:
            _show_stage(stage)
        _show_broken(mirror.broken)
    if mirror.problem is not None:
        raise mirror.problem
    return 0


def look(environ: Mapping[str, str]) -> Mirror:
    """What a start would find, going on where a start would stop."""
    seconds = settings.value(environ, settings.HOOK_TIMEOUT)
    found, doubles = discovery.survey()
    plugins, unloadable = hooks.examine(found, seconds)
    broken = (*doubles, *unloadable, *_undeclared(plugins))
    usable = plugins.without(one.plugin.name for one in broken if one not in doubles)
    problem: VmnetError | None = broken[0].error if broken else None
    parsed = None
    try:
        parsed = settings.parse(environ, usable.settings())
        selection: Selection | None = select(parsed, usable.strategies(), usable.allocate_only())
    except VmnetError as error:
        selection, problem = None, problem or error
    return Mirror(
        usable, broken, selection, problem, parsed is None or not parsed[settings.NO_DHCP]
    )


def _undeclared(plugins: Plugins) -> Iterator[Broken]:
    """Those whose settings can't be had."""
    for name, plugin in plugins.installed.items():
        try:
            plugins.declared(name)
        except PluginError as error:
            yield Broken(plugin, error)


def _stages(mirror: Mirror) -> Iterator[dict[str, Any]]:
    for module in hookspecs.STAGES:
        stage = module.__name__.rpartition(".")[2]
        own = [name for name in vars(module) if name.startswith("vmnet_")]
        able = {hook: _able(mirror, hook) for hook in own}
        anybody = [
            one for one in mirror.plugins.names if any(one in names for names in able.values())
        ]
        choice = _choice(mirror, stage, anybody)
        chosen = choice.names if choice else ()
        variable = _VARIABLES.get(stage)
        yield {
            "stage": stage,
            "variable": variable,
            "why": choice.reason if choice else None,
            "active": [_described(mirror.plugins.installed[one]) for one in chosen],
            "others": [
                {**_described(mirror.plugins.installed[one]), "choose": _way(mirror, variable, one)}
                for one in anybody
                if one not in chosen
            ],
            "hooks": [
                {
                    "hook": hook,
                    "active": [one for one in chosen if one in names],
                    "others": [one for one in names if one not in chosen],
                }
                for hook, names in able.items()
            ],
        }


def _way(mirror: Mirror, variable: str | None, name: str) -> str:
    """The variables that choose a strategy: what serves DHCP contradicts NO_DHCP."""
    contradicts = name == settings.IPAM.default and not mirror.serves_dhcp
    also = f"{settings.NO_DHCP.name}=false " if contradicts else ""
    return f"{also}{variable}={name}"


def _able(mirror: Mirror, hook: str) -> list[str]:
    return [one for one in mirror.plugins.names if mirror.plugins.implements(one, hook)]


def _choice(mirror: Mirror, stage: str, able: list[str]) -> Choice | None:
    """Who answers, in the order of the calls, and why it is them."""
    if stage == "settings":
        return Choice(tuple(able), "every plugin is asked")
    if mirror.selection is None:
        return None
    choice: Choice = getattr(mirror.selection, "ipam" if stage == "devices" else stage)
    return choice


def _described(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
    }


def _document(mirror: Mirror, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """The form of docs/hooks.schema.json."""
    problem = mirror.problem
    return {
        "vmnet": __version__,
        "contract": list(hookspecs.CONTRACT),
        "stages": stages,
        "broken": [
            {**_described(one.plugin), "reason": one.error.message, "hint": one.error.hint}
            for one in mirror.broken
        ],
        "problem": problem
        and {"message": problem.message, "hint": problem.hint, "exit_code": problem.exit_code},
    }


def _show_stage(stage: dict[str, Any]) -> None:
    heading(stage["stage"])
    active = ", ".join(
        f"{one['name']} ({one['distribution']} {one['version']})" for one in stage["active"]
    )
    print(_wrapped("  active  ", active or "nobody"))
    if stage["why"]:
        print(_wrapped("  why     ", stage["why"]))
    if stage["others"]:
        others = (
            f"{one['choose']} ({one['distribution']} {one['version']})" for one in stage["others"]
        )
        print(_wrapped("  others  ", ", ".join(others)))
    width = max(len(one["hook"]) for one in stage["hooks"])
    for hook in stage["hooks"]:
        print(_wrapped(f"    {hook['hook']:<{width}}  ", _answers(hook)))
    print()


def _answers(hook: dict[str, Any]) -> str:
    if hook["active"]:
        return ", ".join(hook["active"])
    if hook["others"]:
        return styled(f"nobody active; {', '.join(hook['others'])} would", "dim")
    return styled("nobody implements it", "dim")


def _show_broken(broken: tuple[Broken, ...]) -> None:
    if not broken:
        return
    heading("broken: no start goes on before these are mended or removed")
    for one in broken:
        print(_wrapped("  ", styled(str(one.plugin), "red")))
        print(_wrapped("    ", one.error.message))
        print(_wrapped("    ", one.error.hint))
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
