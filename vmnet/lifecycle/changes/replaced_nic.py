"""Recognise a NIC that takes the place of a NIC of the start, under another name."""

from __future__ import annotations

from collections.abc import Iterable

from vmnet.lifecycle.changes import hotplug
from vmnet.lifecycle.changes.hotplug import Vm
from vmnet.net import links, rtnl
from vmnet.net.kernel_errors import step
from vmnet.net.restore import assigned, snapshot


def find(vm: Vm, gone: Iterable[str], name: str) -> str:
    """Return the NIC of the start in whose place a new NIC is; empty if there is none.

    Docker gives the NIC of a network that is connected again another name, and the same MAC or an
    address of the same subnet.

    :param gone: the names of the NICs of the start that are gone
    :raises VmnetError: the new NIC can't be read
    """
    names = tuple(gone)
    if not names or name in names:
        return name if names else ""
    with step(f"follow the setup of {name}"):
        hotplug.await_setup(name)
        with rtnl.Rtnl() as kernel:
            mac = links.get(kernel, name).get_attr("IFLA_ADDRESS")
            (saved,) = snapshot.take(kernel, [name])
    subnets = {own.network for own in assigned.addresses(saved)}
    for interface in vm.identity.interfaces:
        is_on_its_network = any(own.network in subnets for own in interface.addresses)
        if interface.name in names and (interface.mac == mac or is_on_its_network):
            return interface.name
    return ""
