"""Record the calls of hooks: which hook, in which order, with which arguments.

    recorder = Recorder(vmnet_ipam_deliver=Delivery("mine"))
    recorder.hooks({"VMNET_IPAM": "recorder"}).deliver(identity, wiring)
    assert recorder.names() == ["vmnet_ipam_deliver"]

A built-in plugin serves the stages that the test does not select plugins for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from attrs import frozen

from vmnet import testing
from vmnet.hooks import loading, selection
from vmnet.hooks.discovery import Plugin
from vmnet.hooks.facade import Hooks
from vmnet.hookspecs import hookimpl
from vmnet.model.delivery import Delivery
from vmnet.model.machine import Command
from vmnet.settings import table

NAME = "recorder"


@frozen
class Call:
    """The call of a hook of a plugin.

    :param given: the arguments by name, without ``settings``
    """

    hook: str
    plugin: str
    given: Mapping[str, Any]


class Recorder:
    """Provides a plugin whose hooks return fixed values, and records all calls.

    :param results: by hook; a hook raises its result if that is an exception. The other hooks
        return valid defaults.
    """

    def __init__(self, **results: Any) -> None:
        self.calls: list[Call] = []
        identity = testing.identity()
        self._results: dict[str, Any] = {
            "vmnet_settings": (),
            "vmnet_capture": identity,
            "vmnet_ipam_deliver": Delivery(NAME),
            "vmnet_bridge_plan": testing.wiring(identity),
            "vmnet_bridge_extend": testing.wiring(identity),
            "vmnet_bridge_change": testing.wiring(identity),
            "vmnet_bridge_rejoin": True,
            "vmnet_bridge_build": True,
            "vmnet_bridge_restore": True,
            "vmnet_forwarder": Delivery(NAME),
            "vmnet_launch_command": Command(("/bin/true",)),
            "vmnet_launch": None,
            "vmnet_launch_change": True,
            **results,
        }

    def names(self) -> list[str]:
        """Return the called hooks in order, without vmnet_settings, which every start calls."""
        return [call.hook for call in self.calls if call.hook != "vmnet_settings"]

    def hooks(self, environ: Mapping[str, str] | None = None, *plugins: Plugin) -> Hooks:
        """Return the stages, with this plugin for each stage that the environment does not select.

        :param plugins: further plugins that the environment can select
        """
        loaded = loading.load([self._plugin(), *plugins])
        loaded.manager.add_hookcall_monitoring(self._record, lambda *_: None)
        own = (name for name, names in loaded.strategies().items() if NAME in names)
        selecting = {**dict.fromkeys(own, NAME), **(environ or {})}
        parsed = table.parse(selecting, loaded.settings())
        return Hooks(loaded, selection.select_from(loaded, parsed), parsed)

    def _plugin(self) -> Plugin:
        module = ModuleType(f"vmnet_recorder_{id(self)}")
        for name, result in self._results.items():
            setattr(module, name, hookimpl(_returning(result)))
        sys.modules[module.__name__] = module
        return Plugin(NAME, module.__name__, "vmnet-testing", "0")

    def _record(self, hook: str, impls: Sequence[Any], given: Mapping[str, Any]) -> None:
        arguments = {name: value for name, value in given.items() if name != "settings"}
        self.calls += (Call(hook, impl.plugin_name, arguments) for impl in impls)


def _returning(result: Any) -> Callable[[], Any]:
    """Return an implementation that takes none of a hook's arguments."""

    def implementation() -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    return implementation
