"""A deferred module is loaded by the first who asks it for something, and only then."""

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


def test_a_library_that_imports_it_does_not_load_it() -> None:
    assert run(f"{_DEFER}print('__file__' in vars(stand_in))") == "False\n"


def test_who_asks_gets_the_real_one() -> None:
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


def test_what_is_loaded_stays() -> None:
    program = "import json, sys; from vmnet.imports.deferred import defer; defer('json')"
    assert run(f"{program}; print(json is sys.modules['json'])") == "True\n"


def test_a_package_that_is_not_there_is_not_asked_for() -> None:
    """``from module import name`` asks a module whether it is a package, which must not load it."""
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
    """As a plugin may be, beside a module."""

    plain = staticmethod(_generator)

    def method(self) -> None:
        """A hook, say."""


_ASKED = {
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


@pytest.mark.parametrize("kind", _ASKED)
@pytest.mark.parametrize(
    "question", sorted(deferred._INSPECT.keys() - {"getattr_static", "unwrap"})
)
def test_inspect_s_answers(question: str, kind: str) -> None:
    one = _ASKED[kind]
    assert deferred._INSPECT[question](one) == getattr(inspect, question)(one)


@pytest.mark.parametrize("kind", _ASKED)
def test_what_inspect_unwraps(kind: str) -> None:
    assert deferred._INSPECT["unwrap"](_ASKED[kind]) is inspect.unwrap(_ASKED[kind])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", _ASKED)
@pytest.mark.parametrize(
    "name", ["_generator", "dumps", "method", "plain", "__doc__", "__name__", "__class__", "none"]
)
def test_what_inspect_gets(name: str, kind: str) -> None:
    ours = deferred._INSPECT["getattr_static"](_ASKED[kind], name, "none")
    assert ours == inspect.getattr_static(_ASKED[kind], name, "none")


@pytest.mark.parametrize("name", deferred._INSPECT)
def test_inspect_s_names(name: str) -> None:
    """Whoever names the parameters gets an answer as well."""
    parameters = inspect.signature(getattr(inspect, name)).parameters
    given = {one: "none" if one == "attr" else None for one in parameters}
    assert deferred._INSPECT[name](**given) == getattr(inspect, name)(**given)


def test_what_inspect_does_not_get() -> None:
    with pytest.raises(AttributeError):
        deferred._INSPECT["getattr_static"](json, "none")


_START = "import sys, vmnet.__main__, vmnet.cli.run, vmnet.net.codec;"


def test_a_start_leaves_them_alone() -> None:
    """But for those that one version or another of the standard library uses as it is imported."""
    waiting = run(
        f"{_START} print(*(n for n, m in sys.modules.items() if 'Deferred' in str(type(m))))"
    )
    assert {
        *("copy", "inspect", "ntpath", "platform", "selectors", "tokenize", "traceback"),
        *("unicodedata", "urllib.parse", "pkgutil", "attr.validators", "attrs.converters"),
    } <= set(waiting.split())


def test_what_a_plugin_does_with_them_works() -> None:
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
