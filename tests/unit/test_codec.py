"""Our part of pyroute2 is nobody else's, and understands what the whole of it says."""

from __future__ import annotations

import pytest

from tests.unit.interpreter import run


def test_it_leaves_nothing_behind() -> None:
    program = (
        "import sys, vmnet.net.codec\n"
        "print(*(one for one in sys.modules if one.startswith(('pyroute2', 'multiproc'))))"
    )
    assert run(program) == "\n"


def test_a_plugin_gets_the_whole_library() -> None:
    program = """
from vmnet.net import codec
from pyroute2 import IPRoute, config
import multiprocessing
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ifinfmsg.plugins.vlan import vlan
with IPRoute() as kernel:
    names = [link.get("ifname") for link in kernel.get_links()]
print("lo" in names, config.MpProcess is multiprocessing.Process, ifinfmsg is codec.ifinfmsg)
"""
    assert run(program) == "True True False\n"


def test_a_library_that_is_there_is_shared() -> None:
    program = """
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from vmnet.net import codec
import pyroute2
print(ifinfmsg is codec.ifinfmsg, hasattr(pyroute2, "IPRoute"))
"""
    assert run(program) == "True True\n"


_KINDS = {
    "bridge": [("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_MCAST_SNOOPING", 0)],
    "vlan": [("IFLA_VLAN_ID", 7)],
    "bond": [("IFLA_BOND_MODE", 1)],
    "": [],
}


@pytest.mark.parametrize("kind", _KINDS)
def test_links_mean_the_same(kind: str) -> None:
    """Whatever their kind; what a kind adds is read of bridges alone."""
    program = f"""
from vmnet.net import codec
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
assert ifinfmsg is not codec.ifinfmsg
kind, data = {kind!r}, {_KINDS[kind]!r}
said = ifinfmsg()
said["index"], said["flags"] = 3, 1
said["attrs"] = [("IFLA_IFNAME", "eth0"), ("IFLA_MTU", 1450), ("IFLA_ADDRESS", "02:42:ac:11:00:02")]
if kind:
    info = [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {{"attrs": data}})]
    said["attrs"].append(("IFLA_LINKINFO", {{"attrs": info}}))
said.encode()
one, other = ifinfmsg(said.data), codec.ifinfmsg(said.data)
for message in (one, other):
    message.decode()
for name in ("IFLA_IFNAME", "IFLA_MTU", "IFLA_ADDRESS"):
    assert one.get_attr(name) == other.get_attr(name) is not None, name
assert one["index"] == other["index"] == 3
if kind:
    mine, theirs = (each.get_attr("IFLA_LINKINFO") for each in (other, one))
    assert mine.get_attr("IFLA_INFO_KIND") == theirs.get_attr("IFLA_INFO_KIND") == kind
    assert theirs.get_attr("IFLA_INFO_DATA").get_attr(data[0][0]) == data[0][1]
    if kind == "bridge":
        assert mine.get_attr("IFLA_INFO_DATA").get_attr(data[0][0]) == data[0][1]
    else:
        assert isinstance(mine.get_attr("IFLA_INFO_DATA"), str)
print("the same")
"""
    assert run(program) == "the same\n"
