"""A deferred module is loaded on the first access to one of its attributes, and not before."""

from __future__ import annotations

import functools
import inspect
import json
import platform
import sys
from collections.abc import Iterator

import pytest

from tests.unit.interpreter import run
from vmnet.imports import deferred

_DEFER = """
import sys
from vmnet.imports.deferred import defer
defer("attr.validators", "attrs.validators")
import attrs
stand_in = sys.modules["attr.validators"]
"""


def test_an_import_by_a_library_does_not_load_the_module() -> None:
    assert run(f"{_DEFER}print('__file__' in vars(stand_in))") == "False\n"


def test_an_access_loads_the_module() -> None:
    program = f"""{_DEFER}
@attrs.define
class Box:
    size: int = attrs.field(validator=attrs.validators.instance_of(int))
try:
    Box("big")
except TypeError:
    from attrs.validators import in_
    import attr.validators
    print(in_ is attr.validators.in_, sys.modules["attr.validators"] is not stand_in)
"""
    assert run(program) == "True True\n"


def test_a_loaded_module_is_not_replaced() -> None:
    program = "import json, sys; from vmnet.imports.deferred import defer; defer('json')"
    assert run(f"{program}; print(json is sys.modules['json'])") == "True\n"


def test_the_check_for_a_package_does_not_load_the_module() -> None:
    """``from module import name`` checks whether the module is a package."""
    program = """
import sys
from vmnet.imports.deferred import Deferred, put
put(Deferred("colorsys", rgb_to_hsv=len))
from colorsys import rgb_to_hsv
print(type(sys.modules["colorsys"]).__name__, rgb_to_hsv is len)
"""
    assert run(program) == "Deferred True\n"


def _generator() -> Iterator[int]:
    yield 1


@functools.wraps(_generator)
def _wrapped() -> None:
    """Something else."""


class _Plugin:
    """A plugin that is a class."""

    plain = staticmethod(_generator)

    def method(self) -> None:
        """A hook."""


_ARGUMENTS = {
    "a function": _wrapped,
    "a generator": _generator,
    "a lambda": lambda: None,
    "a builtin": len,
    "a class": _Plugin,
    "an object": _Plugin(),
    "a method": _Plugin().method,
    "a partial": functools.partial(_generator),
    "a module": sys.modules[__name__],
    "a package": json,
    "nothing": None,
}


@pytest.mark.parametrize("kind", _ARGUMENTS)
@pytest.mark.parametrize(
    "function", sorted(deferred._INSPECT.keys() - {"getattr_static", "unwrap"})
)
def test_the_functions_agree_with_inspect(function: str, kind: str) -> None:
    argument = _ARGUMENTS[kind]
    assert deferred._INSPECT[function](argument) == getattr(inspect, function)(argument)


@pytest.mark.parametrize("kind", _ARGUMENTS)
def test_unwrap_agrees_with_inspect(kind: str) -> None:
    argument = _ARGUMENTS[kind]
    assert deferred._INSPECT["unwrap"](argument) is inspect.unwrap(argument)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", _ARGUMENTS)
@pytest.mark.parametrize(
    "name", ["_generator", "dumps", "method", "plain", "__doc__", "__name__", "__class__", "none"]
)
def test_getattr_static_agrees_with_inspect(name: str, kind: str) -> None:
    ours = deferred._INSPECT["getattr_static"](_ARGUMENTS[kind], name, "none")
    assert ours == inspect.getattr_static(_ARGUMENTS[kind], name, "none")


@pytest.mark.parametrize("function", deferred._INSPECT)
def test_the_functions_accept_the_keywords_of_inspect(function: str) -> None:
    parameters = inspect.signature(getattr(inspect, function)).parameters
    keywords = {name: "none" if name == "attr" else None for name in parameters}
    assert deferred._INSPECT[function](**keywords) == getattr(inspect, function)(**keywords)


def test_getattr_static_without_a_default_raises() -> None:
    with pytest.raises(AttributeError):
        deferred._INSPECT["getattr_static"](json, "none")


_START = "import sys, vmnet.__main__, vmnet.cli.run, vmnet.net.codec;"


def test_a_start_does_not_load_them() -> None:
    """Some versions of the standard library load other deferred modules at import."""
    deferred_modules = run(
        f"{_START} print(*(n for n, m in sys.modules.items() if 'Deferred' in str(type(m))))"
    )
    assert {
        *("copy", "inspect", "ntpath", "selectors", "tokenize", "traceback"),
        *("unicodedata", "pkgutil", "attr.validators", "attrs.converters"),
    } <= set(deferred_modules.split())


def test_plugins_can_use_them() -> None:
    program = f"""{_START}
import copy, platform, traceback
import urllib.parse
from pathlib import Path
from urllib.parse import urlsplit
print(urllib.parse.quote("a b"), urlsplit("http://host/x").netloc, Path("/a b").as_uri())
print(copy.copy([1]), platform.machine() != "", platform.python_implementation())
print(traceback.format_exception_only(ValueError("x")))
import inspect, pathlib
print(inspect.getsource(pathlib.PurePosixPath).partition("(")[0])
"""
    assert run(program).splitlines() == [
        "a%20b host file:///a%20b",
        f"[1] True {platform.python_implementation()}",
        "['ValueError: x\\n']",
        "class PurePosixPath",
    ]
