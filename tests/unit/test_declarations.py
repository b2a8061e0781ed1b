"""The settings that plugins declare: their rows are checked, and their parsers run like hooks."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.wait import WAIT
from tests.unit import fakes
from vmnet.errors import PluginError, SettingsError
from vmnet.hooks import loading
from vmnet.settings.table import Setting, Settings, parse, setting
from vmnet.settings.values import text

Patch = pytest.MonkeyPatch
PLUGIN = "plugin fake (vmnet-fake 1.0)"


def parsed(
    monkeypatch: Patch, value: str, parser: Callable[[str], Any], seconds: float = WAIT
) -> Settings:
    """Parse VMNET_FAKE_SIZE, which a plugin declares with this parser."""
    row = setting("VMNET_FAKE_SIZE", parser, "", "a size")
    plugin = fakes.install(monkeypatch, "fake", vmnet_settings=lambda: [row])
    return parse({row.name: value}, loading.load([plugin], seconds).settings())


def refused(monkeypatch: Patch, *rows: object) -> str:
    """Return the message for a plugin that declares these rows."""
    plugin = fakes.install(monkeypatch, "fake", vmnet_settings=lambda: list(rows))
    with pytest.raises(PluginError) as caught:
        parse({}, loading.load([plugin]).settings())
    assert caught.value.exit_code == 11
    return caught.value.message


def test_a_value_and_its_key(monkeypatch: Patch) -> None:
    row = setting("VMNET_FAKE_SIZE", int, "1", "a size")
    plugin = fakes.install(monkeypatch, "fake", vmnet_settings=lambda: [row])
    assert parse({row.name: "7"}, loading.load([plugin]).settings())[row] == 7


def test_a_value_that_the_parser_refuses(monkeypatch: Patch) -> None:
    def parser(value: str) -> str:
        raise ValueError("a size")

    with pytest.raises(SettingsError) as caught:
        parsed(monkeypatch, "lots", parser)
    assert caught.value.message == "VMNET_FAKE_SIZE=lots is not a size"


def test_another_exception_of_a_parser(monkeypatch: Patch) -> None:
    with pytest.raises(PluginError) as caught:
        parsed(monkeypatch, "lots", lambda value: {"few": 1}[value])
    assert caught.value.message == f"{PLUGIN} failed to parse VMNET_FAKE_SIZE: KeyError: 'lots'"


def test_a_parser_that_exits(monkeypatch: Patch) -> None:
    with pytest.raises(PluginError, match="failed to parse VMNET_FAKE_SIZE: SystemExit: 0"):
        parsed(monkeypatch, "lots", lambda value: sys.exit(0))


def test_a_parser_that_does_not_return(monkeypatch: Patch) -> None:
    with pytest.raises(PluginError, match="VMNET_FAKE_SIZE: it did not return within 1 s"):
        parsed(monkeypatch, "lots", lambda value: time.sleep(1000), seconds=1)


def test_the_output_of_a_parser_is_logged(
    monkeypatch: Patch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        parsed(monkeypatch, "lots", lambda value: print("parsing"))
    assert capsys.readouterr().out == ""
    assert f"{PLUGIN} printed: parsing" in caplog.messages


@pytest.mark.parametrize("name", ["PATH", "NO_DHCP", "VMNET_", "VMNET_SIZE=", "vmnet_size"])
def test_a_name_without_the_prefix(monkeypatch: Patch, name: str) -> None:
    message = refused(monkeypatch, setting(name, text, "", "a size"))
    assert message == f"{PLUGIN} declares a setting named {name!r} in vmnet_settings"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (Setting("VMNET_FAKE", 7, "", ""), "parse is int, not Callable"),  # type: ignore[arg-type]
        (Setting("VMNET_FAKE", text, 7, ""), "default is int, not str"),  # type: ignore[arg-type]
        (Setting("VMNET_FAKE", text, "", None), "help is None, not str"),  # type: ignore[arg-type]
    ],
)
def test_a_malformed_row(monkeypatch: Patch, row: Setting[Any], fault: str) -> None:
    expected = f"{PLUGIN} returned a wrong value from vmnet_settings: the result[0].{fault}"
    assert refused(monkeypatch, row).startswith(expected)


def test_a_default_that_the_parser_refuses_is_the_plugins_fault(monkeypatch: Patch) -> None:
    def parser(value: str) -> str:
        raise ValueError("a size")

    assert refused(monkeypatch, setting("VMNET_FAKE_SIZE", parser, "big", "a size")) == (
        f"{PLUGIN} declares the default VMNET_FAKE_SIZE=big, which is not a size"
    )


def test_a_name_of_the_core_names_the_declarer(monkeypatch: Patch) -> None:
    assert refused(monkeypatch, setting("VMNET_MEMORY", text, "", "a size")) == (
        f"the setting VMNET_MEMORY is declared twice: by vmnet and {PLUGIN}"
    )
