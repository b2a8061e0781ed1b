"""Plugins that can't be loaded, or whose hooks break the contract."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.unit import fakes
from tests.unit.test_hooks import Patch
from vmnet.errors import PluginError
from vmnet.hooks import loading
from vmnet.hooks.discovery import Plugin


def load(tmp_path: Path, monkeypatch: Patch, source: str) -> None:
    """Load a plugin with this source code."""
    (tmp_path / "vmnet_broken_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        loading.load([Plugin("broken", "vmnet_broken_plugin", "vmnet-broken", "0.3")])
    finally:
        sys.modules.pop("vmnet_broken_plugin", None)


HEAD = "from vmnet.hookspecs import hookimpl\n@hookimpl\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import library_that_is_not_there",
            "can't be imported: ModuleNotFoundError: No module named 'library_that_is_not_there'",
        ),
        ("1 / 0", "can't be imported: ZeroDivisionError: division by zero"),
        ("def (", "can't be imported: SyntaxError: invalid syntax"),
        (
            f"{HEAD}def vmnet_captrue(settings): ...",
            "implements an unknown hook vmnet_captrue (did you mean 'vmnet_capture'?)",
        ),
        (f"{HEAD}def something_else(): ...", "implements an unknown hook something_else"),
    ],
)
def test_a_plugin_that_does_not_load(
    source: str, message: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    with pytest.raises(PluginError, match=re.escape(message)) as caught:
        load(tmp_path, monkeypatch, source)
    assert caught.value.message.startswith("plugin broken (vmnet-broken 0.3) ")
    assert "\n" not in caught.value.message


def test_a_missing_module() -> None:
    with pytest.raises(PluginError) as caught:
        loading.load([Plugin("gone", "vmnet_gone", "vmnet-gone", "1.0")])
    assert caught.value.message == (
        "plugin gone (vmnet-gone 1.0) can't be imported: "
        "ModuleNotFoundError: No module named 'vmnet_gone'"
    )
    assert caught.value.hint == "repair or remove the plugin: `pip uninstall vmnet-gone`"


def test_a_hook_with_an_unknown_parameter(tmp_path: Path, monkeypatch: Patch) -> None:
    with pytest.raises(PluginError, match=r"plugin broken \(vmnet-broken 0.3\)"):
        load(tmp_path, monkeypatch, f"{HEAD}def vmnet_capture(settings, colour): ...")


def test_two_entry_points_with_the_same_module(monkeypatch: Patch) -> None:
    plugin = fakes.install(monkeypatch, "fake", **fakes.GOOD)
    again = Plugin("again", plugin.module, plugin.distribution, plugin.version)
    with pytest.raises(PluginError, match="vmnet_fake_fake"):
        loading.load([plugin, again])


def test_a_plugin_that_exits_at_import(tmp_path: Path, monkeypatch: Patch) -> None:
    with pytest.raises(PluginError, match="can't be imported: SystemExit"):
        load(tmp_path, monkeypatch, "raise SystemExit(3)")


def test_a_hook_without_its_marker(tmp_path: Path, monkeypatch: Patch) -> None:
    with pytest.raises(PluginError, match="hookimpl"):
        load(tmp_path, monkeypatch, "def vmnet_capture(settings): ...")
