"""Stages that write down what their plugins are asked: which hook, in which order, with what.

    recorder = Recorder(vmnet_ipam_deliver=Delivery("mine"))
    recorder.hooks({"VMNET_IPAM": "recorder"}).deliver(identity, wiring)
    assert recorder.names() == ["vmnet_ipam_deliver"]

A plugin of its own takes the stages that are not the test's subject.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from attrs import frozen

from vmnet import hooks, selection, settings, testing
from vmnet.delivery import Delivery
from vmnet.discovery import Plugin
from vmnet.hooks import Hooks
from vmnet.hookspecs import hookimpl
from vmnet.machine import Command

NAME = "recorder"
_SELECTING = (
    settings.CAPTURE,
    settings.IPAM,
    settings.BRIDGE,
    settings.FORWARDER,
    settings.LAUNCH,
)


@frozen
class Call:
    """One plugin that was asked.

    :param given: the arguments by name, but for the settings
    """

    hook: str
    plugin: str
    given: Mapping[str, Any]


class Recorder:
    """Its plugin answers each hook with a fixed value: what is given here, a sound one otherwise.

    An exception as answer is raised.
    """

    def __init__(self, **answers: Any) -> None:
        self.calls: list[Call] = []
        identity = testing.identity()
        self._answers: dict[str, Any] = {
            "vmnet_settings": (),
            "vmnet_capture": identity,
            "vmnet_ipam_deliver": Delivery(NAME),
            "vmnet_bridge_plan": testing.wiring(identity),
            "vmnet_bridge_build": True,
            "vmnet_bridge_restore": True,
            "vmnet_forwarder": Delivery(NAME),
            "vmnet_launch_command": Command(("/bin/true",)),
            "vmnet_launch": None,
            **answers,
        }

    def names(self) -> list[str]:
        """The hooks that were called, in that order; not vmnet_settings, which every start asks."""
        return [one.hook for one in self.calls if one.hook != "vmnet_settings"]

    def hooks(self, environ: Mapping[str, str] | None = None, *beside: Plugin) -> Hooks:
        """The stages, with this plugin in each that the environment leaves open.

        :param beside: further plugins, which the environment can select
        """
        loaded = hooks.load([self._plugin(), *beside])
        loaded.manager.add_hookcall_monitoring(self._record, lambda *_: None)
        chosen = {**{row.name: NAME for row in _SELECTING}, **(environ or {})}
        parsed = settings.parse(chosen, loaded.settings())
        return Hooks(
            loaded, selection.select(parsed, loaded.strategies(), loaded.allocate_only()), parsed
        )

    def _plugin(self) -> Plugin:
        module = ModuleType(f"vmnet_recorder_{id(self)}")
        for name, answer in self._answers.items():
            setattr(module, name, hookimpl(_giving(answer)))
        sys.modules[module.__name__] = module
        return Plugin(NAME, module.__name__, "vmnet-testing", "0")

    def _record(self, hook: str, asked: Sequence[Any], given: Mapping[str, Any]) -> None:
        known = {name: value for name, value in given.items() if name != "settings"}
        self.calls += (Call(hook, one.plugin_name, known) for one in asked)


def _giving(answer: Any) -> Callable[[], Any]:
    """An implementation that takes none of a hook's arguments."""

    def give() -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return give
