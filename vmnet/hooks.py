"""The typed façade over pluggy: nothing else in vmnet touches the plugin manager."""

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
# The hook that is not bounded: it becomes the machine, and a timer would survive the exec.
_LAST = "vmnet_launch"
_SECONDS = float(settings.HOOK_TIMEOUT.default)

# The hooks of which one makes a plugin fit for the stage that a variable selects for.
_MAIN_HOOKS: Mapping[Setting[Any], tuple[str, ...]] = {
    settings.CAPTURE: ("vmnet_capture",),
    settings.IPAM: ("vmnet_ipam_deliver", "vmnet_ipam_allocate"),
    settings.BRIDGE: ("vmnet_bridge_plan",),
    settings.FORWARDER: ("vmnet_forwarder",),
    settings.LAUNCH: ("vmnet_launch_command",),
}


class _Manager(pluggy.PluginManager):
    """Looks for the marker first: pluggy examines every name of a module much more thoroughly."""

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
    """Plugins that are loaded and registered, whether a setting selects them or not.

    :param seconds: how long a hook may take
    """

    manager: pluggy.PluginManager
    installed: Mapping[str, Plugin]
    seconds: float

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.installed)

    def without(self, names: Iterable[str]) -> Plugins:
        """The others; nobody asks these again."""
        apart = set(names)
        kept = {name: one for name, one in self.installed.items() if name not in apart}
        return Plugins(self.manager, kept, self.seconds)

    def settings(self) -> list[Setting[Any]]:
        """The core's settings and every plugin's."""
        return [*settings.CORE, *(row for name in self.installed for row in self.declared(name))]

    def declared(self, name: str) -> Sequence[Setting[Any]]:
        """The settings of one plugin."""
        declared: Sequence[Setting[Any]] = self.call(name, "vmnet_settings", (list, tuple)) or ()
        for row in declared:
            if not isinstance(row, Setting):
                raise PluginError(
                    f"plugin {self.installed[name]} declares {row!r} in vmnet_settings",
                    "rows are made with vmnet.settings.setting or optional",
                )
        return declared

    def strategies(self) -> dict[str, tuple[str, ...]]:
        """For each variable that selects, the names of the plugins fit for its stage."""
        return {
            row.name: tuple(
                name for name in self.names if any(self.implements(name, hook) for hook in hooks)
            )
            for row, hooks in _MAIN_HOOKS.items()
        }

    def undelivering(self) -> tuple[str, ...]:
        """The IPAM strategies that allocate, and leave it to others to tell the guest."""
        return tuple(
            name
            for name in self.names
            if self.implements(name, "vmnet_ipam_allocate")
            and not self.implements(name, "vmnet_ipam_deliver")
        )

    def implements(self, name: str, hook: str) -> bool:
        return any(one.plugin_name == name for one in self._caller(hook).get_hookimpls())

    def call(
        self, name: str, hook: str, kind: type[Any] | tuple[type[Any], ...], **given: Any
    ) -> Any:
        """What one plugin answers to a hook; None where it does not implement it.

        :param kind: what the answer must be an instance of
        :raises PluginError: the plugin failed, or answered something else
        """
        if not self.implements(name, hook):
            return None
        others = [plugin for other, plugin in self.manager.list_name_plugin() if other != name]
        ask = partial(self.manager.subset_hook_caller(hook, others), **given)
        plugin, fault = self.installed[name], f"failed in {hook}"
        if hook == _LAST:
            with calling.faults(plugin, fault):
                answer = ask()
        else:
            answer = calling.call(plugin, fault, ask, self.seconds)
        if not self._spec(hook).opts["firstresult"]:  # pluggy's list of answers, here of one
            answer = answer[0] if answer else None
        if answer is not None and not isinstance(answer, kind):
            raise PluginError(
                f"plugin {self.installed[name]} returned {type(answer).__name__} from {hook}",
                "docs/hooks.md tells what each hook returns",
            )
        return answer

    def takes_settings(self, hook: str) -> bool:
        return "settings" in self._spec(hook).argnames

    def _caller(self, hook: str) -> pluggy.HookCaller:
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        return caller

    def _spec(self, hook: str) -> Any:
        return self._caller(hook).spec


def load(found: Sequence[Plugin], seconds: float = _SECONDS) -> Plugins:
    """Import and register plugins.

    :param seconds: how long each may take to be imported, and each hook later
    :raises PluginError: one can't be imported, implements a hook that does not exist, or asks for
        another contract
    """
    plugins, broken = examine(found, seconds)
    if broken:
        raise broken[0].error
    return plugins


def examine(
    found: Sequence[Plugin], seconds: float = _SECONDS
) -> tuple[Plugins, tuple[Broken, ...]]:
    """Import and register what can be, and tell what can't, and why."""
    manager = _Manager(PROJECT)
    for stage in hookspecs.STAGES:
        manager.add_hookspecs(stage)
    sound, broken = {}, []
    for plugin in found:
        try:
            _register(manager, plugin, seconds)
            sound[plugin.name] = plugin
        except PluginError as error:
            broken.append(Broken(plugin, error))
    return Plugins(manager, sound, seconds), tuple(broken)


def _register(manager: pluggy.PluginManager, plugin: Plugin, seconds: float) -> None:
    module = _import(plugin, seconds)
    _refuse_other_contract(plugin, module)
    for hook in names():
        if hasattr(module, hook) and not hasattr(getattr(module, hook), f"{PROJECT}_impl"):
            raise PluginError(
                f"plugin {plugin} has {hook} without @hookimpl",
                "decorate it with vmnet.hookspecs.hookimpl",
            )
    try:
        manager.register(module, plugin.name)
    except ValueError:
        raise PluginError(
            f"the module {plugin.module} has two names, one of them {plugin}",
            "give each entry point of group vmnet a module of its own",
        ) from None
    except pluggy.PluginValidationError as error:
        reason = " ".join(str(error).split())
        raise PluginError(f"plugin {plugin}: {reason}", "docs/hooks.md lists the hooks") from None
    _refuse_misspelt(manager, plugin, module)


def names() -> tuple[str, ...]:
    """Every hook, in the order of the stages."""
    return tuple(
        name for stage in hookspecs.STAGES for name in vars(stage) if name.startswith(_PREFIX)
    )


def _import(plugin: Plugin, seconds: float) -> Any:
    ask = partial(importlib.import_module, plugin.module)
    try:
        return calling.call(plugin, "can't be imported", ask, seconds)
    except VmnetError as error:
        hint = f"mend or remove it: `pip uninstall {plugin.distribution}`"
        missing = error.__cause__
        if isinstance(missing, ImportError) and (missing.name or "").split(".")[0] == PROJECT:
            hint = f"it is made for another vmnet than this, whose hook contract is {_contract()}"
        raise PluginError(error.message, hint) from missing


def _refuse_other_contract(plugin: Plugin, module: Any) -> None:
    """A plugin that asks for nothing is content with the first contract of this major version."""
    asked = getattr(module, "VMNET_CONTRACT", (hookspecs.CONTRACT[0], 0))
    match asked:
        case (int(major), int(minor)):
            pass
        case _:
            raise PluginError(
                f"plugin {plugin} has VMNET_CONTRACT = {asked!r}",
                f"it is a pair of numbers: VMNET_CONTRACT = {hookspecs.CONTRACT}",
            )
    ours, newest = hookspecs.CONTRACT
    if major == ours and minor <= newest:
        return
    older = f"install a {plugin.distribution} that is made for {_contract()}"
    raise PluginError(
        f"plugin {plugin} asks for hook contract {major}.{minor}, "
        f"and vmnet {__version__} has {_contract()}",
        older if major < ours else f"update vmnet, or {older}",
    )


def _contract() -> str:
    return ".".join(map(str, hookspecs.CONTRACT))


def _refuse_misspelt(manager: pluggy.PluginManager, plugin: Plugin, module: Any) -> None:
    """pluggy finds an implementation without a specification only when asked."""
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
    """The stages, each answered by the strategies that the settings selected."""

    plugins: Plugins
    selection: Selection
    settings: Settings

    def capture(self) -> Identity:
        return self._strategy(self.selection.capture, "vmnet_capture", Identity)

    @property
    def allocators(self) -> tuple[str, ...]:
        """The selected IPAM strategies that allocate, in the order in which they are asked."""
        names = self.selection.ipam.names
        return tuple(one for one in names if self.plugins.implements(one, "vmnet_ipam_allocate"))

    def allocate(self, name: str, identity: Identity) -> Identity:
        """The identity with what one strategy has allocated."""
        self._must_implement(name, "vmnet_ipam_release")
        answer = self._call(name, "vmnet_ipam_allocate", Identity, identity=identity)
        if answer is None:
            return identity
        if _nics(answer) != _nics(identity):
            raise PluginError(
                f"plugin {self.plugins.installed[name]} returned other interfaces from "
                f"vmnet_ipam_allocate: {_nics(answer)} instead of {_nics(identity)}",
                "names, MACs and their order are the container's",
            )
        allocated: Identity = answer
        return allocated

    def release(self, name: str, identity: Identity) -> None:
        """Have one strategy, selected or not, release what it allocated for an identity."""
        self._must_implement(name, "vmnet_ipam_release")
        self._call(name, "vmnet_ipam_release", type(None), identity=identity)

    def requirements(self, identity: Identity) -> Requirements:
        """What all selected IPAM strategies need of the bridge, added up."""
        total = Requirements()
        for name in self.selection.ipam.names:
            answer = self._call(name, "vmnet_ipam_requirements", Requirements, identity=identity)
            total |= answer or Requirements()
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
        """What each selected IPAM strategy delivers, and the forwarder where one is needed.

        A strategy that delivers is trusted to forward as well: one process does both.
        """
        found = self._all_ipam("vmnet_ipam_deliver", Delivery, identity=identity, wiring=wiring)
        (forwarder,) = self.selection.forwarder.names
        if wiring.nameserver is None or forwarder in self.selection.ipam.names:
            return found
        delivery = self._strategy(
            self.selection.forwarder, "vmnet_forwarder", Delivery, identity=identity, wiring=wiring
        )
        return (*found, delivery)

    def status(self, identity: Identity, wiring: Wiring) -> tuple[tuple[str, Handover], ...]:
        """What each selected IPAM strategy knows of the running guest, with its name."""
        return tuple(
            (name, handover)
            for name in self.selection.ipam.names
            for handover in self._call(
                name, "vmnet_ipam_status", tuple, identity=identity, wiring=wiring
            )
            or ()
        )

    def devices(self, identity: Identity, wiring: Wiring) -> tuple[Disk | Cdrom, ...]:
        answers = self._all_ipam("vmnet_devices", tuple, identity=identity, wiring=wiring)
        return tuple(device for answer in answers for device in answer)

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
        self._must_implement(name, "vmnet_launch")
        self._call(name, "vmnet_launch", type(None), command=command)

    def _strategy(self, stage: Choice, hook: str, kind: type[Result], **given: Any) -> Result:
        (name,) = stage.names
        self._must_implement(name, hook)
        answer: Result | None = self._call(name, hook, kind, **given)
        if answer is None:
            raise PluginError(
                f"plugin {self.plugins.installed[name]} returned nothing from {hook}",
                "docs/hooks.md tells what each hook returns",
            )
        return answer

    def _all_ipam(self, hook: str, kind: type[Result], **given: Any) -> tuple[Result, ...]:
        answers = (self._call(name, hook, kind, **given) for name in self.selection.ipam.names)
        return tuple(answer for answer in answers if answer is not None)

    def _call(self, name: str, hook: str, kind: type[Any], **given: Any) -> Any:
        if self.plugins.takes_settings(hook):
            given["settings"] = self.settings
        return self.plugins.call(name, hook, kind, **given)

    def _must_implement(self, name: str, hook: str) -> None:
        if self.plugins.implements(name, hook):
            return
        able = [one for one in self.plugins.names if self.plugins.implements(one, hook)]
        raise PluginError(
            f"plugin {self.plugins.installed[name]} has no {hook}, which its stage needs",
            f"strategies of that stage: {', '.join(able)}",
        )


def _nics(identity: Identity) -> str:
    return ", ".join(f"{one.name} {one.mac}" for one in identity.interfaces)
