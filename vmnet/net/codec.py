"""The one door to pyroute2: its rtnetlink message classes.

``import pyroute2`` loads every protocol the library has, and asyncio: some 180 ms, three times as
long as the whole shell script that vmnet replaces. A start needs four message classes, and these
import in a sixth of that when the package's ``__init__`` is not run. So, unless somebody has
imported pyroute2 as a whole already, an empty module with the package's search path stands in for
it while the submodules load. bench/start measures what it saves.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from types import ModuleType


def _import_without_init(package: str) -> None:
    if package in sys.modules:
        return
    spec = PathFinder.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)
    stand_in = ModuleType(package)
    stand_in.__path__ = list(spec.submodule_search_locations)
    stand_in.__spec__ = spec
    sys.modules[package] = stand_in


_import_without_init("pyroute2")

from pyroute2.netlink import nla  # noqa: E402
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: E402
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: E402
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: E402

__all__ = ["ifaddrmsg", "ifinfmsg", "nla", "rtmsg"]
