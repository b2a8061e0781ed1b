"""Defer the import of modules that libraries import but a start does not use.

A stand-in takes the module's place and loads the module on the first access to an attribute. If a
library reads an attribute while it is imported, the stand-in can provide that attribute itself.

``importlib.util.LazyLoader`` is the standard way, but it must first find the module, and thereby
imports the package that contains it. That package would then load the module before the stand-in
is in place.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any


def defer_unused() -> None:
    """Defer modules that a start never calls.

    - modules that pathlib, logging and socket import for rare cases
    - parts of attrs that vmnet's classes do not use, some of which compile classes at import
    - inspect, of which pluggy calls only simple functions
    """
    defer("copy", "fnmatch", "ntpath", "selectors", "tokenize", "traceback")
    defer("attr.converters", "attr.filters", "attr.validators", "unicodedata")
    defer("attrs.converters", "attrs.filters", "attrs.setters", "attrs.validators")
    put(Deferred("inspect", **_INSPECT))


def defer(*modules: str) -> None:
    """Put a stand-in for each module into ``sys.modules``, unless the module is loaded already."""
    for name in modules:
        put(Deferred(name))


def put(stand_in: Deferred) -> None:
    """Put a stand-in into ``sys.modules``, unless the module is loaded already."""
    package, _, name = stand_in.__name__.rpartition(".")
    registered = sys.modules.setdefault(stand_in.__name__, stand_in)
    if registered is stand_in and package in sys.modules:
        setattr(sys.modules[package], name, stand_in)


class Deferred(ModuleType):
    """A stand-in for a module that is not a package.

    :param known: attributes that do not load the module
    """

    def __init__(self, name: str, **known: object) -> None:
        super().__init__(name)
        vars(self).update(known)

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # `from module import name` first checks for a package
            raise AttributeError(name)
        return getattr(_load(self.__name__), name)


def _load(module: str) -> ModuleType:
    if isinstance(sys.modules.get(module), Deferred):
        del sys.modules[module]
    return importlib.import_module(module)


def _instance_check(kind: type) -> Callable[[object], bool]:
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
# The functions that pluggy calls on a plugin module and its functions. Any other case goes to
# inspect. The parameters have inspect's names, so that keyword arguments work.
_INSPECT: Mapping[str, Callable[..., Any]] = {
    "isclass": _instance_check(type),
    "isfunction": _instance_check(FunctionType),
    "ismethod": _instance_check(MethodType),
    "ismodule": _instance_check(ModuleType),
    "isroutine": _isroutine,
    "isgeneratorfunction": _isgeneratorfunction,
    "unwrap": _unwrap,
    "getattr_static": _getattr_static,
}
