"""Find out whether a check applies to a plugin."""

from __future__ import annotations

import importlib

from vmnet.errors import VmnetError
from vmnet.hooks import discovery
from vmnet.testing.subject import load


def has_hooks(name: str, wanted: tuple[str, ...]) -> bool:
    """Return whether a plugin implements any of these hooks; False if it can't be imported."""
    try:
        subject = load(name, {})
    except (VmnetError, LookupError):
        return _defines_hooks(name, wanted)
    return any(map(subject.implements, wanted))


def _defines_hooks(name: str, wanted: tuple[str, ...]) -> bool:
    """Answer the same for a plugin that does not load, such as without its environment."""
    path = next((plugin.module for plugin in discovery.discover() if plugin.name == name), None)
    try:
        module = importlib.import_module(path) if path else None
    except Exception:
        return False
    return any(hasattr(module, hook) for hook in wanted)
