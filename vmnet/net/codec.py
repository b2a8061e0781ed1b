"""The one door to pyroute2: its rtnetlink message classes.

``import pyroute2`` loads every protocol the library has, and asyncio: some 180 ms, three times as
long as the whole shell script that vmnet replaces. A start needs four message classes, and these
import in a tenth of that if three things are left out, which :func:`_sparse` stands in for while
they load: the package's ``__init__``, a module for each kind of link, and the library's settings,
which bring multiprocessing. bench/start measures what it saves.

Modules loaded so are nobody else's: they leave ``sys.modules`` again, and a plugin that imports
pyroute2 gets all of it, whether before or after.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from vmnet.deferred import Deferred, defer

_PACKAGE = "pyroute2"
_AF_BRIDGE = 7  # linux/socket.h; the socket module has no name for it


class _LinkKinds(ModuleType):
    """Stands in for a module for each kind of link: their data stay bytes, as unknown kinds' do."""

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
    """The library's settings, mostly of sockets that aren't made here: these three are of links."""
    plugins = {"data_plugins_pkgs": (), "data_plugins_path": ()}
    return Deferred(f"{_PACKAGE}.config", AF_BRIDGE=_AF_BRIDGE, **plugins)


@contextmanager
def _sparse() -> Iterator[None]:
    """Load modules of pyroute2 without the rest of it, unless somebody has it already."""
    if _PACKAGE in sys.modules:
        yield
        return
    defer("pkgutil")
    link_kinds = _LinkKinds(f"{_PACKAGE}.netlink.rtnl.ifinfmsg.plugins")
    stand_ins = (_package_without_init(), link_kinds, _config())
    sys.modules.update((one.__name__, one) for one in stand_ins)
    try:
        yield
    finally:
        for name in [one for one in sys.modules if one.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]


with _sparse():
    from pyroute2.netlink import nla
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

__all__ = ["ifaddrmsg", "ifinfmsg", "nla", "rtmsg"]
