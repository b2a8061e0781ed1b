"""Networks that are connected to a running VM, and disconnected from it."""

from __future__ import annotations

import pytest

from tests.lab.net.lan import Lan, lan
from tests.lab.wait import WAIT, until
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


def test_an_address_and_an_mtu_change_while_the_vm_runs(network: Lan, machine: DemoVm) -> None:
    """The guest asks again when its carrier returns, and has the new settings then."""
    web, station = network.container("web", ipv6=True), network.station()
    first = web.nic()
    with machine.booted(web) as guest:
        guest.says(f"vmnet-guest: eth0 {first.address6}")
        web.ip("link", "set", "eth0", "mtu", "1400")
        web.ip("address", "add", "172.30.1.77/24", "dev", "eth0")
        guest.says(
            f"the guest gets {first.address}/24 172.30.1.77/24 {first.address6}/64, MTU 1400"
        )
        web.ip("address", "add", f"{first.address}/24", "dev", "eth0", "preferred_lft", "0")
        guest.says("vmnet-guest: eth0 172.30.1.77/24")

        def has_all() -> bool:
            """Each change of the carrier makes the guest ask again, by DHCP and by DHCPv6."""
            (eth0,) = ask(station, "172.30.1.77", "identity")["interfaces"]
            own6 = [own.split("/")[0] for own in eth0["ipv6"]]
            own = (eth0["mac"], eth0["mtu"], eth0["ipv4"], own6)
            return own == (first.mac, 1400, ["172.30.1.77/24"], [first.address6])

        until(has_all, WAIT, "the answers of both", interval=0.5, detail=guest.output)


def test_a_nic_that_is_replaced_brings_another_address(network: Lan, machine: DemoVm) -> None:
    """``docker network disconnect`` and ``connect`` do this."""
    web, station = network.container("web"), network.station()
    with machine.booted(web) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        mac = web.nic().mac
        network.host.ip("link", "delete", web.nic().port)
        guest.says("eth0 is gone, and the VM is off its network")
        network.attach(web, "eth0", address="172.30.1.99")
        guest.says("vmnet-guest: eth0 172.30.1.99/24")
        (eth0,) = ask(station, "172.30.1.99", "identity")["interfaces"]
        assert eth0["mac"] == mac
