"""The family of errors: a code each, and all of them known."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import vmnet
from vmnet.errors import FAMILY, VmnetError

# Their code is that of the class above them.
APART = {"BusyError", "DemoError"}


def descendants(kind: type[VmnetError]) -> set[type[VmnetError]]:
    return {kind}.union(*(descendants(one) for one in kind.__subclasses__()))


def test_the_family_is_complete() -> None:
    for module in pkgutil.walk_packages(vmnet.__path__, "vmnet."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {one for one in descendants(VmnetError) if one.__module__.startswith("vmnet.")}
    assert {one.__name__ for one in ours - set(FAMILY)} == APART


def test_each_class_has_an_exit_code_of_its_own() -> None:
    codes = [one.exit_code for one in FAMILY]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 126 for code in codes), "126 and up are the shell's and the engine's"


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
