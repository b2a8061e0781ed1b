"""Fake plugins: modules with the hooks that a test needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest

from vmnet import testing
from vmnet.hooks import loading, selection
from vmnet.hooks.discovery import Plugin
from vmnet.hooks.facade import Hooks
from vmnet.hookspecs import hookimpl
from vmnet.model.delivery import Delivery
from vmnet.model.machine import Command
from vmnet.settings.table import Settings, parse

Hook = Callable[..., Any]

# A valid implementation of every hook that a stage requires.
GOOD: Mapping[str, Hook] = {
    "vmnet_capture": lambda settings: testing.identity(),
    "vmnet_ipam_release": lambda settings, identity: None,
    "vmnet_ipam_deliver": lambda settings, identity, wiring: Delivery("fake"),
    "vmnet_bridge_plan": lambda settings, identity, requirements: testing.wiring(identity),
    "vmnet_bridge_extend": lambda settings, identity, requirements, wiring: wiring,
    "vmnet_bridge_change": lambda settings, identity, requirements, wiring: wiring,
    "vmnet_bridge_rejoin": lambda settings, wiring: True,
    "vmnet_bridge_build": lambda settings, wiring: True,
    "vmnet_bridge_restore": lambda settings, wiring: True,
    "vmnet_forwarder": lambda settings, identity, wiring: Delivery("fake forwarder"),
    "vmnet_launch_command": lambda settings, machine, arguments: Command(("/bin/true",)),
    "vmnet_launch": lambda settings, command: None,
    "vmnet_launch_change": lambda settings, command, change: True,
}


def install(monkeypatch: pytest.MonkeyPatch, name: str, **implementations: Hook) -> Plugin:
    """Make a module with these hooks importable, and return its entry point."""
    module = ModuleType(f"vmnet_fake_{name}")
    for hook, function in implementations.items():
        setattr(module, hook, hookimpl(function))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return Plugin(name, module.__name__, f"vmnet-{name}", "1.0")


def stages(monkeypatch: pytest.MonkeyPatch, **changed: Hook) -> Hooks:
    """Return stages with a plugin whose hooks are valid, except the changed hooks."""
    return choose([install(monkeypatch, "fake", **{**GOOD, **changed})], "fake")


def choose(plugins: list[Plugin], name: str) -> Hooks:
    """Return stages with the same strategy selected for all of them."""
    loaded = loading.load(plugins)
    settings = _settings(loaded, name)
    return Hooks(loaded, selection.select(settings, loaded.strategies()), settings)


def _settings(loaded: loading.Plugins, name: str) -> Settings:
    selecting = (row for row, names in loaded.strategies().items() if row != "VMNET_DEVICES")
    return parse(dict.fromkeys(selecting, name), loaded.settings())
