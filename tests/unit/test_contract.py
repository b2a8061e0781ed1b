"""The contract with plugins, as golden files: it changes only with its version."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from docs import public_names
from tests.unit import fakes
from vmnet import __version__ as version
from vmnet import hookspecs, testing
from vmnet.errors import FAMILY, PluginError
from vmnet.hooks import loading
from vmnet.hooks.discovery import Plugin
from vmnet.hooks.stages import STAGES
from vmnet.model import delivery, firmware, identity, kept, machine, wiring

FOLDER = Path(__file__).with_name("contract")
CHANGED = """\
the contract has changed: raise a number of vmnet.hookspecs.CONTRACT, see docs/hooks.md, "The
version of this contract". Do not change the file of a released version in tests/unit/contract;
UPDATE_GOLDEN=1 writes the file of a new or unreleased version."""


def contract() -> str:
    """Return all hooks, data classes with their fields, error classes, and names of vmnet.api."""
    parts = (_hooks(), _data_classes(), _errors(), public_names.signatures())
    return "\n".join(line for part in parts for line in (*part, ""))


def _hooks() -> Iterator[str]:
    for stage in STAGES:
        for name in stage.hooks:
            function = getattr(stage.specs, name)
            remark = " (firstresult)" if function.vmnet_spec["firstresult"] else ""
            yield f"{name}{inspect.signature(function)}{remark}".replace("'", "")


def _data_classes() -> Iterator[str]:
    for module in (identity, kept, wiring, delivery, firmware, machine):
        for cls in _classes(module):
            # As written, because the types in attrs' fields change when code resolves them.
            types = inspect.get_annotations(cls)
            fields = ", ".join(_field(field, types[field.name]) for field in attrs.fields(cls))
            yield f"{module.__name__}.{cls.__name__}({fields})"


def _classes(module: ModuleType) -> Iterator[type[attrs.AttrsInstance]]:
    for cls in vars(module).values():
        if isinstance(cls, type) and attrs.has(cls) and cls.__module__ == module.__name__:
            yield cls


def _field(field: attrs.Attribute[object], annotation: str) -> str:
    default = "" if field.default is attrs.NOTHING else f" = {field.default!r}"
    return f"{field.name}: {annotation}{default}"


def _errors() -> Iterator[str]:
    return (f"{error.__name__} {error.exit_code}" for error in FAMILY)


def test_the_contract_equals_the_file_of_its_version() -> None:
    current = contract()
    path = FOLDER / f"{'.'.join(map(str, hookspecs.CONTRACT))}.txt"
    assert testing.golden(path, current) == current, CHANGED


@pytest.mark.parametrize("required", [(1, 0), hookspecs.CONTRACT])
def test_a_plugin_that_requires_an_available_contract(
    required: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loading.load([requiring(required, monkeypatch)]).names == ("fake",)


def requiring(required: object, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    plugin = fakes.install(monkeypatch, "fake", **fakes.GOOD)
    monkeypatch.setattr(sys.modules[plugin.module], "VMNET_CONTRACT", required, raising=False)
    return plugin


HERE = ".".join(map(str, hookspecs.CONTRACT))
MAJOR, MINOR = hookspecs.CONTRACT


OTHER_PLUGIN = f"install a version of vmnet-fake for contract {HERE}"


@pytest.mark.parametrize(
    ("required", "hint"),
    [
        ((MAJOR, MINOR + 1), f"update vmnet, or {OTHER_PLUGIN}"),
        ((MAJOR + 1, 0), f"update vmnet, or {OTHER_PLUGIN}"),
        ((MAJOR - 1, 7), OTHER_PLUGIN),
    ],
)
def test_a_plugin_that_requires_another_contract(
    required: tuple[int, int], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PluginError) as caught:
        loading.load([requiring(required, monkeypatch)])
    assert caught.value.message == (
        f"plugin fake (vmnet-fake 1.0) requires hook contract {required[0]}.{required[1]}, "
        f"but vmnet {version} has {HERE}"
    )
    assert caught.value.hint == hint


@pytest.mark.parametrize("required", ["1.0", 1, (1,), (1, 0, 0), ("1", "0"), None])
def test_a_malformed_requirement(required: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PluginError) as caught:
        loading.load([requiring(required, monkeypatch)])
    assert f"has VMNET_CONTRACT = {required!r}" in caught.value.message


def test_a_plugin_that_imports_a_name_of_a_newer_vmnet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vmnet_newer.py").write_text("from vmnet.model.wiring import Teleporter\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError) as caught:
        loading.load([Plugin("newer", "vmnet_newer", "vmnet-newer", "3.0")])
    assert "plugin newer (vmnet-newer 3.0) can't be imported" in caught.value.message
    assert caught.value.hint == (
        f"the plugin needs another vmnet; this one has hook contract {HERE}"
    )
