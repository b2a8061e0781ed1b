"""The error classes: FAMILY is complete, and each class has an exit code and a meaning."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import vmnet
from vmnet.errors import FAMILY, VmnetError

# These classes have the exit code of their base class.
WITHOUT_CODE = {
    *("AgentError", "BusyError", "DemoError", "InvalidError", "NoAgentError"),
    "NotDownloadedError",
}


def descendants(kind: type[VmnetError]) -> set[type[VmnetError]]:
    return {kind}.union(*map(descendants, kind.__subclasses__()))


def test_the_family_is_complete() -> None:
    for module in pkgutil.walk_packages(vmnet.__path__, "vmnet."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    kinds = {kind for kind in descendants(VmnetError) if kind.__module__.startswith("vmnet.")}
    assert {kind.__name__ for kind in kinds - set(FAMILY)} == WITHOUT_CODE


def test_each_class_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in FAMILY]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 126 for code in codes), "shells and engines use 126 and above"


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_each_class_says_what_it_means(kind: type[VmnetError]) -> None:
    assert kind.__dict__["meaning"].isprintable()
    assert kind.__name__.endswith("Error")


def test_message_and_hint() -> None:
    error = VmnetError("what went wrong", "what to do")
    assert (str(error), error.message, error.hint) == (
        "what went wrong",
        "what went wrong",
        "what to do",
    )
    assert VmnetError("x").hint == ""
