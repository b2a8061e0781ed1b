"""The typed façade over pluggy. No other module of vmnet uses the plugin manager."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from vmnet import __version__, calling, hookspecs, settings
from vmnet.delivery import Delivery, Handover
from vmnet.discovery import Broken, Plugin
from vmnet.errors import PluginError, VmnetError
from vmnet.hookspecs.markers import PROJECT
from vmnet.identity import Identity
from vmnet.machine import Cdrom, Command, Disk, Machine
from vmnet.noun import Noun, noun
from vmnet.selection import Choice, Selection
from vmnet.settings import Setting, Settings
from vmnet.values import nearest
from vmnet.wiring import Requirements, Wiring

Result = TypeVar("Result")

_PREFIX = "vmnet_"
_RESULTS_HINT = "docs/hooks.md documents what each hook returns"
# This hook has no time limit: it execs the hypervisor, and the timer would survive the exec.
_LAUNCH = "vmnet_launch"
_DEFAULT_SECONDS = float(settings.HOOK_TIMEOUT.default)

# A plugin qualifies for a stage if it implements any of these hooks.
_MAIN_HOOKS: Mapping[Setting[Any], tuple[str, ...]] = {
    settings.CAPTURE: ("vmnet_capture",),
    settings.IPAM: ("vmnet_ipam_deliver", "vmnet_ipam_allocate"),
    settings.BRIDGE: ("vmnet_bridge_plan",),
    settings.FORWARDER: ("vmnet_forwarder",),
    settings.LAUNCH: ("vmnet_launch_command",),
}


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


@noun
class Plugins(Noun):
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
        return [*settings.CORE, *(row for name in self.installed for row in self.declared(name))]

    def declared(self, name: str) -> Sequence[Setting[Any]]:
        """Return the settings of a plugin.

        :raises PluginError: the hook failed or returned something other than settings
        """
        declared: Sequence[Setting[Any]] = self.call(name, "vmnet_settings", (list, tuple)) or ()
        for row in declared:
            if not isinstance(row, Setting):
                raise PluginError(
                    f"plugin {self.installed[name]} declares {row!r} in vmnet_settings",
                    "create rows with vmnet.settings.setting or optional",
                )
        return declared

    def strategies(self) -> dict[str, tuple[str, ...]]:
        """Return, for each selecting variable, the names of the plugins that qualify."""
        return {
            row.name: tuple(
                name for name in self.names if any(self.implements(name, hook) for hook in hooks)
            )
            for row, hooks in _MAIN_HOOKS.items()
        }

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
            with calling.faults(plugin, fault):
                result = call_hook()
        else:
            result = calling.call(plugin, fault, call_hook, self.seconds)
        if not self._spec(hook).opts["firstresult"]:  # pluggy returns a list of results
            result = result[0] if result else None
        if result is not None and not isinstance(result, kind):
            raise PluginError(
                f"plugin {self.installed[name]} returned {type(result).__name__} from {hook}",
                _RESULTS_HINT,
            )
        return result

    def takes_settings(self, hook: str) -> bool:
        return "settings" in self._spec(hook).argnames

    def _caller(self, hook: str) -> pluggy.HookCaller:
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        return caller

    def _spec(self, hook: str) -> Any:
        return self._caller(hook).spec


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
    for stage in hookspecs.STAGES:
        manager.add_hookspecs(stage)
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
    for hook in names():
        if hasattr(module, hook) and not hasattr(getattr(module, hook), f"{PROJECT}_impl"):
            raise PluginError(
                f"plugin {plugin} defines {hook} without @hookimpl",
                "decorate the function with vmnet.hookspecs.hookimpl",
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


def names() -> tuple[str, ...]:
    """Return the names of all hooks, in the order of the stages."""
    return tuple(
        name for stage in hookspecs.STAGES for name in vars(stage) if name.startswith(_PREFIX)
    )


def _import(plugin: Plugin, seconds: float) -> Any:
    import_module = partial(importlib.import_module, plugin.module)
    try:
        return calling.call(plugin, "can't be imported", import_module, seconds)
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
                f"{caller.name}{nearest(caller.name, names())}",
                "docs/hooks.md lists the hooks",
            )


@noun
class Hooks(Noun):
    """Calls the hooks of each stage on the strategies that the settings select."""

    plugins: Plugins
    selection: Selection
    settings: Settings

    def capture(self) -> Identity:
        return self._strategy(self.selection.capture, "vmnet_capture", Identity)

    @property
    def allocators(self) -> tuple[str, ...]:
        """The selected IPAM strategies that allocate, in calling order."""
        names = self.selection.ipam.names
        return tuple(name for name in names if self.plugins.implements(name, "vmnet_ipam_allocate"))

    def allocate(self, name: str, identity: Identity) -> Identity:
        """Return the identity with the allocations of a strategy.

        :raises PluginError: the strategy failed, or changed the interfaces
        """
        self._require(name, "vmnet_ipam_release")
        allocated: Identity | None = self._call(
            name, "vmnet_ipam_allocate", Identity, identity=identity
        )
        if allocated is None:
            return identity
        if _nics(allocated) != _nics(identity):
            raise PluginError(
                f"plugin {self.plugins.installed[name]} returned other interfaces from "
                f"vmnet_ipam_allocate: {_nics(allocated)} instead of {_nics(identity)}",
                "keep the names, MACs and order of the container's interfaces",
            )
        return allocated

    def release(self, name: str, identity: Identity) -> None:
        """Release what a strategy, selected or not, allocated for an identity."""
        self._require(name, "vmnet_ipam_release")
        self._call(name, "vmnet_ipam_release", type(None), identity=identity)

    def requirements(self, identity: Identity) -> Requirements:
        """Return the combined requirements of the selected IPAM strategies."""
        total = Requirements()
        for name in self.selection.ipam.names:
            result = self._call(name, "vmnet_ipam_requirements", Requirements, identity=identity)
            total |= result or Requirements()
        return total

    def plan_bridge(self, identity: Identity, requirements: Requirements) -> Wiring:
        return self._strategy(
            self.selection.bridge,
            "vmnet_bridge_plan",
            Wiring,
            identity=identity,
            requirements=requirements,
        )

    def deliver(self, identity: Identity, wiring: Wiring) -> tuple[Delivery, ...]:
        """Return the deliveries of the selected IPAM strategies, and of the forwarder if needed.

        If the forwarder is also a selected IPAM strategy, its delivery forwards DNS already.
        """
        deliveries = self._all_ipam(
            "vmnet_ipam_deliver", Delivery, identity=identity, wiring=wiring
        )
        (forwarder,) = self.selection.forwarder.names
        if wiring.nameserver is None or forwarder in self.selection.ipam.names:
            return deliveries
        delivery = self._strategy(
            self.selection.forwarder, "vmnet_forwarder", Delivery, identity=identity, wiring=wiring
        )
        return (*deliveries, delivery)

    def status(self, identity: Identity, wiring: Wiring) -> tuple[tuple[str, Handover], ...]:
        """Return what each selected IPAM strategy, by name, reports about the running guest."""
        return tuple(
            (name, handover)
            for name in self.selection.ipam.names
            for handover in self._call(
                name, "vmnet_ipam_status", tuple, identity=identity, wiring=wiring
            )
            or ()
        )

    def devices(self, identity: Identity, wiring: Wiring) -> tuple[Disk | Cdrom, ...]:
        contributions = self._all_ipam("vmnet_devices", tuple, identity=identity, wiring=wiring)
        return tuple(device for devices in contributions for device in devices)

    def launch_command(self, machine: Machine, arguments: Sequence[str]) -> Command:
        return self._strategy(
            self.selection.launch,
            "vmnet_launch_command",
            Command,
            machine=machine,
            arguments=arguments,
        )

    def build_bridge(self, wiring: Wiring) -> None:
        self._strategy(self.selection.bridge, "vmnet_bridge_build", bool, wiring=wiring)

    def restore_bridge(self, wiring: Wiring) -> None:
        self._strategy(self.selection.bridge, "vmnet_bridge_restore", bool, wiring=wiring)

    def launch(self, command: Command) -> None:
        (name,) = self.selection.launch.names
        self._require(name, "vmnet_launch")
        self._call(name, "vmnet_launch", type(None), command=command)

    def _strategy(self, stage: Choice, hook: str, kind: type[Result], **given: Any) -> Result:
        (name,) = stage.names
        self._require(name, hook)
        result: Result | None = self._call(name, hook, kind, **given)
        if result is None:
            raise PluginError(
                f"plugin {self.plugins.installed[name]} returned nothing from {hook}", _RESULTS_HINT
            )
        return result

    def _all_ipam(self, hook: str, kind: type[Result], **given: Any) -> tuple[Result, ...]:
        results = (self._call(name, hook, kind, **given) for name in self.selection.ipam.names)
        return tuple(result for result in results if result is not None)

    def _call(self, name: str, hook: str, kind: type[Any], **given: Any) -> Any:
        if self.plugins.takes_settings(hook):
            given["settings"] = self.settings
        return self.plugins.call(name, hook, kind, **given)

    def _require(self, name: str, hook: str) -> None:
        if self.plugins.implements(name, hook):
            return
        able = [plugin for plugin in self.plugins.names if self.plugins.implements(plugin, hook)]
        raise PluginError(
            f"plugin {self.plugins.installed[name]} does not implement {hook}, "
            "which its stage needs",
            f"plugins that implement it: {', '.join(able) or 'none'}",
        )


def _nics(identity: Identity) -> str:
    return ", ".join(f"{interface.name} {interface.mac}" for interface in identity.interfaces)
