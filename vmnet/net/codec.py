"""pyroute2's rtnetlink message classes; no other module imports pyroute2.

``import pyroute2`` loads asyncio and every protocol of the library. This takes about 180 ms, three
times as long as the whole shell script that vmnet replaces. A start needs four classes, which load
in a tenth of this time without the package's ``__init__``, the modules for each kind of link, and
the library's settings, which import multiprocessing. :func:`_sparse` replaces these three during
the import. bench/start measures the difference.

The modules loaded this way are private to vmnet: they are removed from ``sys.modules``, so a plugin
that imports pyroute2, before or after vmnet, gets the whole library.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from vmnet.imports.deferred import Deferred, defer

_PACKAGE = "pyroute2"
_AF_BRIDGE = 7  # linux/socket.h; the socket module does not define it


class _LinkKinds(ModuleType):
    """Replaces the modules for each kind of link, so that the kinds' data stay undecoded bytes."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        from pyroute2.netlink import nla

        kind = ModuleType(f"{self.__name__}.{name}")
        setattr(kind, name, nla.hex)
        return kind


def _package_without_init() -> ModuleType:
    spec = PathFinder.find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named '{_PACKAGE}'", name=_PACKAGE)
    package = ModuleType(_PACKAGE)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    return package


def _config() -> ModuleType:
    """Return the library's settings that links use; the others are for its sockets."""
    plugins = {"data_plugins_pkgs": (), "data_plugins_path": ()}
    return Deferred(f"{_PACKAGE}.config", AF_BRIDGE=_AF_BRIDGE, **plugins)


@contextmanager
def _sparse() -> Iterator[None]:
    """Import modules of pyroute2 without the rest of it, unless pyroute2 is already imported."""
    if _PACKAGE in sys.modules:
        yield
        return
    defer("pkgutil")
    link_kinds = _LinkKinds(f"{_PACKAGE}.netlink.rtnl.ifinfmsg.plugins")
    replacements = (_package_without_init(), link_kinds, _config())
    sys.modules.update((module.__name__, module) for module in replacements)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]


with _sparse():
    from pyroute2.netlink import nla
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

__all__ = ["ifaddrmsg", "ifinfmsg", "nla", "rtmsg"]
