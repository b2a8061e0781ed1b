"""Networks that are connected to a running VM, and disconnected from it."""

from __future__ import annotations

import pytest

from tests.lab.net.lan import Lan, lan
from tests.vm.conftest import DemoVm, ask

pytestmark = pytest.mark.vm


def test_a_network_comes_and_goes(network: Lan, machine: DemoVm) -> None:
    with lan(2, host=network.host, ipv6=True) as second:
        web, station = network.container("web"), second.station()
        with machine.booted(web) as guest:
            guest.says("vmnet-guest# ")
            nic = second.attach(web, "eth1", ipv6=True, gateway=False)
            guest.says(f"vmnet-guest: eth1 {nic.address}/24")
            identity = ask(station, nic.address, "identity")
            (eth1,) = (nic for nic in identity["interfaces"] if nic["name"] == "eth1")
            assert eth1["mac"] == nic.mac
            second.host.ip("link", "delete", nic.port)
            guest.says("vmnet-guest: eth1 is gone")
            guest.says("eth1 was disconnected: the guest's NIC is removed")
            again = second.attach(web, "eth1", address=nic.address, mac="02:42:00:00:00:07")
            guest.says("has a new NIC, 02:42:00:00:00:07")
            identity = ask(station, again.address, "identity")
