"""Import plugins and register them with pluggy."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import pluggy

from vmnet import __version__, hookspecs
from vmnet.errors import PluginError, VmnetError
from vmnet.hooks import declarations, invoke, stages
from vmnet.hooks.discovery import Broken, Plugin
from vmnet.hookspecs.markers import PROJECT
from vmnet.model.base import frozen
from vmnet.model.mismatch import mismatch
from vmnet.settings import core
from vmnet.settings.table import Setting
from vmnet.settings.values import nearest

RESULTS_HINT = "docs/hooks.md documents what each hook returns"
# This hook has no time limit: it execs the hypervisor, and the timer would survive the exec.
_LAUNCH = "vmnet_launch"
_DEFAULT_SECONDS = float(core.HOOK_TIMEOUT.default)


class _Manager(pluggy.PluginManager):
    """Checks for the marker first, which is faster than pluggy's inspection of each name."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        is_marked = hasattr(getattr(plugin, name, None), f"{PROJECT}_impl")
        return super().parse_hookimpl_opts(plugin, name) if is_marked else None

    def parse_hookspec_opts(
        self, module_or_class: ModuleType | type, name: str
    ) -> pluggy.HookspecOpts | None:
        is_marked = hasattr(getattr(module_or_class, name, None), f"{PROJECT}_spec")
        return super().parse_hookspec_opts(module_or_class, name) if is_marked else None


@frozen
class Plugins:
    """The loaded and registered plugins, selected or not.

    :param seconds: time limit of a hook
    """

    manager: pluggy.PluginManager
    installed: Mapping[str, Plugin]
    seconds: float

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.installed)

    def without(self, names: Iterable[str]) -> Plugins:
        """Return the plugins except ``names``."""
        removed = set(names)
        kept = {name: plugin for name, plugin in self.installed.items() if name not in removed}
        return Plugins(self.manager, kept, self.seconds)

    def settings(self) -> list[Setting[Any]]:
        """Return the settings of the core and of every plugin."""
        return [*core.CORE, *(row for name in self.installed for row in self.declared(name))]

    def declared(self, name: str) -> Sequence[Setting[Any]]:
        """Return the settings of a plugin; their parsers run like hooks.

        :raises PluginError: the hook failed, or a row is malformed
        """
        rows = [row for row in self._rows(name) if not _is_of_core(row)]
        return declarations.guarded(self.installed[name], rows, self.seconds)

    def observers(self, row: Setting[Any]) -> tuple[str, ...]:
        """Return the names of the bridge strategies that give a setting of the core an effect."""
        return tuple(
            name for name in self.strategies()[core.BRIDGE.name] if row in self._rows(name)
        )

    def _rows(self, name: str) -> Sequence[Any]:
        return self.call(name, "vmnet_settings", (list, tuple)) or ()

    def strategies(self) -> dict[str, tuple[str, ...]]:
        """Return, for each selecting variable, the names of the plugins that qualify."""
        return {
            setting: tuple(
                name
                for name in self.names
                if self._qualifies(name, stage)
                and not (stage.follows and self._qualifies(name, stage.follows))
            )
            for setting, stage in stages.selectable().items()
        }

    def _qualifies(self, name: str, stage: stages.Stage) -> bool:
        return any(self.implements(name, hook) for hook in stage.qualifying)

    def allocate_only(self) -> tuple[str, ...]:
        """Return the IPAM strategies that allocate but do not deliver."""
        return tuple(
            name
            for name in self.names
            if self.implements(name, "vmnet_ipam_allocate")
            and not self.implements(name, "vmnet_ipam_deliver")
        )

    def implements(self, name: str, hook: str) -> bool:
        return any(impl.plugin_name == name for impl in self._caller(hook).get_hookimpls())

    def call(
        self, name: str, hook: str, kind: type[Any] | tuple[type[Any], ...], **given: Any
    ) -> Any:
        """Call a hook of a plugin and return the result; None if the plugin does not implement it.

        :param kind: required type of the result
        :raises PluginError: the plugin failed or returned another type
        """
        if not self.implements(name, hook):
            return None
        others = [plugin for other, plugin in self.manager.list_name_plugin() if other != name]
        call_hook = partial(self.manager.subset_hook_caller(hook, others), **given)
        plugin, fault = self.installed[name], f"failed in {hook}"
        if hook == _LAUNCH:
            result = invoke.call_unlimited(plugin, fault, call_hook)
        else:
            result = invoke.call(plugin, fault, call_hook, self.seconds)
        if not self._spec(hook).opts["firstresult"]:  # pluggy returns a list of results
            result = result[0] if result else None
        if result is not None and not isinstance(result, kind):
            raise PluginError(
                f"plugin {self.installed[name]} returned {type(result).__name__} from {hook}",
                RESULTS_HINT,
            )
        if isinstance(result, list | tuple):
            fault = mismatch(tuple(result), "the result")
        else:
            fault = mismatch(result, type(result).__name__)
        if fault:
            raise wrong_value(self.installed[name], hook, fault)
        return result

    def takes_settings(self, hook: str) -> bool:
        return "settings" in self._spec(hook).argnames

    def _caller(self, hook: str) -> pluggy.HookCaller:
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        return caller

    def _spec(self, hook: str) -> Any:
        return self._caller(hook).spec


def _is_of_core(row: object) -> bool:
    return any(row is own for own in core.CORE if own.by_bridge)


def wrong_value(plugin: Plugin, hook: str, fault: str) -> PluginError:
    return PluginError(f"plugin {plugin} returned a wrong value from {hook}: {fault}", RESULTS_HINT)


def load(found: Sequence[Plugin], seconds: float = _DEFAULT_SECONDS) -> Plugins:
    """Import and register plugins.

    :param seconds: time limit of each import, and later of each hook
    :raises PluginError: a plugin can't be imported, implements an unknown hook, or requires another
        contract
    """
    plugins, broken = examine(found, seconds)
    if broken:
        raise broken[0].error
    return plugins


def examine(
    found: Sequence[Plugin], seconds: float = _DEFAULT_SECONDS
) -> tuple[Plugins, tuple[Broken, ...]]:
    """Import and register plugins, and return the broken plugins with their errors."""
    manager = _Manager(PROJECT)
    for stage in stages.STAGES:
        manager.add_hookspecs(stage.specs)
    loaded, broken = {}, []
    for plugin in found:
        try:
            _register(manager, plugin, seconds)
            loaded[plugin.name] = plugin
        except PluginError as error:
            broken.append(Broken(plugin, error))
    return Plugins(manager, loaded, seconds), tuple(broken)


def _register(manager: pluggy.PluginManager, plugin: Plugin, seconds: float) -> None:
    module = _import(plugin, seconds)
    _refuse_other_contract(plugin, module)
    for hook in stages.hooks():
        if hasattr(module, hook) and not hasattr(getattr(module, hook), f"{PROJECT}_impl"):
            raise PluginError(
                f"plugin {plugin} defines {hook} without @hookimpl",
                "decorate the function with vmnet.api.hookimpl",
            )
    try:
        manager.register(module, plugin.name)
    except ValueError:
        raise PluginError(
            f"two entry points name the module {plugin.module}; the second is plugin {plugin}",
            "give each entry point of group vmnet its own module",
        ) from None
    except pluggy.PluginValidationError as error:
        reason = " ".join(str(error).split())
        raise PluginError(f"plugin {plugin}: {reason}", "docs/hooks.md lists the hooks") from None
    _refuse_misspelt(manager, plugin, module)
    _refuse_wrappers(manager, plugin, module)


def _import(plugin: Plugin, seconds: float) -> Any:
    import_module = partial(importlib.import_module, plugin.module)
    try:
        return invoke.call(plugin, "can't be imported", import_module, seconds)
    except VmnetError as error:
        hint = f"repair or remove the plugin: `pip uninstall {plugin.distribution}`"
        cause = error.__cause__
        if isinstance(cause, ImportError) and (cause.name or "").split(".")[0] == PROJECT:
            hint = f"the plugin needs another vmnet; this one has hook contract {_contract()}"
        raise PluginError(error.message, hint) from cause


def _refuse_other_contract(plugin: Plugin, module: Any) -> None:
    """Check VMNET_CONTRACT, which defaults to the first contract of this major version."""
    required = getattr(module, "VMNET_CONTRACT", (hookspecs.CONTRACT[0], 0))
    match required:
        case (int(major), int(minor)):
            pass
        case _:
            raise PluginError(
                f"plugin {plugin} has VMNET_CONTRACT = {required!r}",
                f"use a pair of numbers: VMNET_CONTRACT = {hookspecs.CONTRACT}",
            )
    own_major, own_minor = hookspecs.CONTRACT
    if major == own_major and minor <= own_minor:
        return
    remedy = f"install a version of {plugin.distribution} for contract {_contract()}"
    raise PluginError(
        f"plugin {plugin} requires hook contract {major}.{minor}, "
        f"but vmnet {__version__} has {_contract()}",
        remedy if major < own_major else f"update vmnet, or {remedy}",
    )


def _contract() -> str:
    return ".".join(map(str, hookspecs.CONTRACT))


def _refuse_misspelt(manager: pluggy.PluginManager, plugin: Plugin, module: Any) -> None:
    """Refuse implementations without a specification, which pluggy accepts by default."""
    for caller in manager.get_hookcallers(module) or ():
        if not caller.has_spec():
            manager.unregister(module)
            raise PluginError(
                f"plugin {plugin} implements an unknown hook "
                f"{caller.name}{nearest(caller.name, stages.hooks())}",
                "docs/hooks.md lists the hooks",
            )


def _refuse_wrappers(manager: pluggy.PluginManager, plugin: Plugin, module: Any) -> None:
    """Refuse pluggy's wrappers, because vmnet calls each hook on a single plugin."""
    for caller in manager.get_hookcallers(module) or ():
        for impl in caller.get_hookimpls():
            if impl.plugin is module and (impl.wrapper or impl.hookwrapper):
                manager.unregister(module)
                raise PluginError(
                    f"plugin {plugin} defines {caller.name} as a wrapper of other plugins",
                    "vmnet calls each hook on a single plugin: use @hookimpl without arguments",
                )
