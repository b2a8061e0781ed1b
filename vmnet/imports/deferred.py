"""Modules that a library imports at once and a start never uses: loaded when something asks them.

Some are asked one thing while they are imported, such as a constant: a stand-in can know that.

``importlib.util.LazyLoader`` is the standard way, but finding the module to be lazy about imports
the package around it, and that package is what must find the stand-in.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any


def defer_unused() -> None:
    """Spare a start what it doesn't use.

    Of pathlib's, logging's and socket's imports, those for days that never come; of attrs what is
    for classes unlike ours, partly classes that are compiled anew each time; and inspect, of which
    pluggy asks simple things alone.
    """
    defer("copy", "fnmatch", "ntpath", "selectors", "tokenize", "traceback")
    defer("attr.converters", "attr.filters", "attr.validators", "unicodedata")
    defer("attrs.converters", "attrs.filters", "attrs.setters", "attrs.validators")
    importlib.import_module("urllib")  # an empty package, to find the stand-in in
    put(Deferred("urllib.parse", quote_from_bytes=_later("urllib.parse", "quote_from_bytes")))
    put(Deferred("inspect", **_INSPECT))
    if sys.implementation.name == "cpython":  # the one word that attrs asks for
        put(Deferred("platform", python_implementation=lambda: "CPython"))


def defer(*modules: str) -> None:
    """Put a stand-in for each module into ``sys.modules``, unless it is loaded already."""
    for name in modules:
        put(Deferred(name))


def put(stand_in: Deferred) -> None:
    """Have imports find it, unless the module is loaded already."""
    package, _, name = stand_in.__name__.rpartition(".")
    found = sys.modules.setdefault(stand_in.__name__, stand_in)
    if found is stand_in and package in sys.modules:
        setattr(sys.modules[package], name, stand_in)


class Deferred(ModuleType):
    """A stand-in for a module, but not for a package.

    :param known: attributes that the module need not be loaded for
    """

    def __init__(self, name: str, **known: object) -> None:
        super().__init__(name)
        vars(self).update(known)

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # what `from module import name` asks first: is it a package?
            raise AttributeError(name)
        return getattr(_load(self.__name__), name)


def _load(module: str) -> ModuleType:
    if isinstance(sys.modules.get(module), Deferred):
        del sys.modules[module]
    return importlib.import_module(module)


def _later(module: str, function: str) -> Callable[..., Any]:
    """A function of a module that is loaded when the function is called."""

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(_load(module), function)(*arguments, **named)

    return call


def _is(kind: type) -> Callable[[object], bool]:
    return lambda object: isinstance(object, kind)


def _isroutine(object: object) -> Any:
    return isinstance(object, FunctionType) or _load("inspect").isroutine(object)


def _isgeneratorfunction(obj: object) -> Any:
    if isinstance(obj, FunctionType):
        return bool(obj.__code__.co_flags & _CO_GENERATOR)
    return _load("inspect").isgeneratorfunction(obj)


def _unwrap(func: object, **stop: Any) -> Any:
    return _load("inspect").unwrap(func, **stop) if hasattr(func, "__wrapped__") else func


def _getattr_static(obj: object, attr: str, *default: object, **named: object) -> Any:
    if type(obj) is ModuleType and attr in vars(obj) and not hasattr(ModuleType, attr):
        return vars(obj)[attr]
    return _load("inspect").getattr_static(obj, attr, *default, **named)


_CO_GENERATOR = 0x20  # inspect.CO_GENERATOR
# What pluggy asks of a plugin that is a module, and of its functions. Any other case is inspect's,
# whose names the parameters have.
_INSPECT: Mapping[str, Callable[..., Any]] = {
    "isclass": _is(type),
    "isfunction": _is(FunctionType),
    "ismethod": _is(MethodType),
    "ismodule": _is(ModuleType),
    "isroutine": _isroutine,
    "isgeneratorfunction": _isgeneratorfunction,
    "unwrap": _unwrap,
    "getattr_static": _getattr_static,
}
