"""vmnet's part of pyroute2 is private, and decodes the same messages as the whole library."""

from __future__ import annotations

import pytest

from tests.unit.interpreter import run


def test_it_leaves_no_modules_behind() -> None:
    program = (
        "import sys, vmnet.net.codec\n"
        "print(*(name for name in sys.modules if name.startswith(('pyroute2', 'multiproc'))))"
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


def test_a_library_that_is_already_imported_is_shared() -> None:
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
def test_both_decode_the_same_link(kind: str) -> None:
    """vmnet decodes the data of a kind only for bridges."""
    program = f"""
from vmnet.net import codec
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
assert ifinfmsg is not codec.ifinfmsg
kind, data = {kind!r}, {_KINDS[kind]!r}
sent = ifinfmsg()
sent["index"], sent["flags"] = 3, 1
sent["attrs"] = [("IFLA_IFNAME", "eth0"), ("IFLA_MTU", 1450), ("IFLA_ADDRESS", "02:42:ac:11:00:02")]
if kind:
    info = [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {{"attrs": data}})]
    sent["attrs"].append(("IFLA_LINKINFO", {{"attrs": info}}))
sent.encode()
whole, ours = ifinfmsg(sent.data), codec.ifinfmsg(sent.data)
for message in (whole, ours):
    message.decode()
for name in ("IFLA_IFNAME", "IFLA_MTU", "IFLA_ADDRESS"):
    assert whole.get_attr(name) == ours.get_attr(name) is not None, name
assert whole["index"] == ours["index"] == 3
if kind:
    whole_info, our_info = (message.get_attr("IFLA_LINKINFO") for message in (whole, ours))
    assert our_info.get_attr("IFLA_INFO_KIND") == whole_info.get_attr("IFLA_INFO_KIND") == kind
    assert whole_info.get_attr("IFLA_INFO_DATA").get_attr(data[0][0]) == data[0][1]
    if kind == "bridge":
        assert our_info.get_attr("IFLA_INFO_DATA").get_attr(data[0][0]) == data[0][1]
    else:
        assert isinstance(our_info.get_attr("IFLA_INFO_DATA"), str)
print("the same")
"""
    assert run(program) == "the same\n"
