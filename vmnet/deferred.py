"""Modules that a library imports at once and a start never uses: loaded when something asks them.

``importlib.util.LazyLoader`` is the standard way, but finding the module to be lazy about imports
the package around it, and that package is what must find the stand-in.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def defer(*modules: str) -> None:
    """Put a stand-in for each module into ``sys.modules``, unless it is loaded already."""
    for name in modules:
        if name not in sys.modules:
            sys.modules[name] = _Deferred(name)


class _Deferred(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)
