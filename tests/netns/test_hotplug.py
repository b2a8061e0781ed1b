"""Networks of a running VM that come and go, with a program in QEMU's place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.lab.command import Process, run
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import web_server
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet
from tests.unit.qmp import Qemu, qemu

CONNECTED, DISCONNECTED = "eth1 was connected", "eth1 was disconnected: the guest's NIC is removed"


@contextmanager
def running(
    vmnet: Vmnet, web: Namespace, slots: int = 4, **settings: str
) -> Iterator[tuple[Process, Qemu]]:
    """Run a VM whose control socket answers."""
    with vmnet.running(web, VMNET_HOTPLUG=str(slots), **settings) as process:
        path = vmnet.run_dir / "qmp.sock"
        path.unlink()
        with qemu(path) as stand_in:
            yield process, stand_in


def test_a_network_comes_and_goes(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host, ipv6=True) as second:
        web = network.container("web")
        with running(vmnet, web) as (process, stand_in):
            before = (vmnet.run_dir / "dnsmasq.conf").read_text()
            late = second.attach(web, "eth1", gateway=False, ipv6=True)
            _await(process, f"{CONNECTED}: the guest has a new NIC, {late.mac} {late.address}/24")
            assert stand_in.told[-3:] == ["getfd", "netdev_add", "device_add"]
            assert _master(web, "eth1") == _master(web, "tap1") == "br1"
            assert f",{late.address}," in (vmnet.run_dir / "dnsmasq.conf").read_text()
            assert "ended before the VM" not in process.output()
            status = _ask(vmnet, process, "status", "--json")
            names = [own["name"] for own in status["identity"]["interfaces"]]
            assert (names, status["added_nics"]) == (["eth0", "eth1"], [])
            assert all(helper["runs"] for helper in status["helpers"])
            second.host.ip("link", "delete", late.port)
            _await(process, DISCONNECTED)
            assert not web.link("br1")
            assert not web.link("tap1")
            assert (vmnet.run_dir / "dnsmasq.conf").read_text() == before
            status = _ask(vmnet, process, "status", "--json")
            assert [own["name"] for own in status["identity"]["interfaces"]] == ["eth0"]
            assert [change.split(" UTC ")[1] for change in status["changes"]] == [
                f"{CONNECTED}: the guest has a new NIC, "
                f"{late.mac} {late.address}/24 {late.address6}/64",
                DISCONNECTED,
            ]


def test_a_lease_of_a_nic_that_is_gone_does_not_block_its_address(
    network: Lan, vmnet: Vmnet
) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web")
        with running(vmnet, web) as (process, _):
            late = second.attach(web, "eth1", gateway=False)
            _await(process, CONNECTED)
            leases = vmnet.run_dir / "dnsmasq.leases"
            kept = f"0 {web.nic().mac} {web.nic().address} web *\n"
            leases.write_text(f"{kept}0 {late.mac} {late.address} web *\n")
            second.host.ip("link", "delete", late.port)
            _await(process, DISCONNECTED)
            assert leases.read_text() == kept


def test_the_next_start_restores_both_networks(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web")
        with running(vmnet, web) as (process, _):
            late = second.attach(web, "eth1", gateway=False)
            _await(process, CONNECTED)
        with vmnet.running(web) as process:
            assert f"eth1: the guest gets MAC {late.mac} and {late.address}/24" in process.output()
            assert _master(web, "eth1") == "br1"


def test_a_failure_leaves_the_rest_of_the_vm_and_blocks_the_nic(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second:
        web, station = network.container("web"), second.station()
        with running(vmnet, web) as (process, stand_in):
            stand_in.refused.add("device_add")
            before = (vmnet.run_dir / "dnsmasq.conf").read_text()
            late = second.attach(web, "eth1", gateway=False)
            _await(process, "eth1 can't become a NIC of the guest: QEMU does not carry out device")
            _await(process, "eth1 was added, but the VM is not on that network: vmnet blocks it")
            assert not web.link("br1")
            assert (vmnet.run_dir / "dnsmasq.conf").read_text() == before
            assert _master(web, "eth0") == "br0"
            asked = ("arping", "-c1", "-w1", "-I", "eth0", late.address)
            assert station.run(*asked, check=False).returncode != 0
            status = _ask(vmnet, process, "status", "--json")
            assert status["added_nics"] == ["eth1"]
            assert all(helper["runs"] for helper in status["helpers"])


def test_a_network_without_a_free_slot(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second, lan(3, host=network.host) as third:
        web = network.container("web")
        with running(vmnet, web, slots=1) as (process, _):
            first = second.attach(web, "eth1", gateway=False)
            _await(process, CONNECTED)
            third.attach(web, "eth2", gateway=False)
            _await(process, "eth2 can't become a NIC of the guest: no slot is free: VMNET_HOTPLUG")
            _await(process, "eth2 was added, but the VM is not on that network")
            second.host.ip("link", "delete", first.port)
            _await(process, DISCONNECTED)
            second.attach(web, "eth3", gateway=False)
            _await(process, "eth3 was connected")


def test_a_replaced_nic_joins_the_guests_nic(network: Lan, vmnet: Vmnet) -> None:
    """containerlab does this when it rebuilds a link. The new NIC has another MAC."""
    web = network.container("web")
    first = web.nic()
    with running(vmnet, web) as (process, stand_in):
        network.host.ip("link", "delete", first.port)
        _await(process, "eth0 is gone, and the VM is off its network")
        until(lambda: "set_link" in stand_in.told, WAIT, "the carrier to go", detail=process.output)
        network.attach(web, "eth0", address=first.address, mac="02:42:00:00:00:07")
        _await(process, "eth0 was replaced: the guest's NIC is on its network again")
        assert stand_in.told.count("set_link") == 2
        assert _master(web, "eth0") == _master(web, "tap0") == "br0"
        reason = _ask(vmnet, process, "health", "--json")["reason"]
        assert "eth0 is gone" not in reason
    with vmnet.running(web) as process:
        assert f"{first.address}/24" in process.output()


def test_a_replaced_nic_with_another_address_is_blocked(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with running(vmnet, web) as (process, _):
        network.host.ip("link", "delete", web.nic().port)
        _await(process, "eth0 is gone")
        network.attach(web, "eth0", address="172.30.1.99")
        _await(process, "eth0 can't become a NIC of the guest: it has other addresses")
        _await(process, "eth0 was added, but the VM is not on that network: vmnet blocks it")


def test_the_container_keeps_its_ports_on_a_network_that_comes(network: Lan, vmnet: Vmnet) -> None:
    def page(where: Namespace, address: str) -> str:
        return where.run("curl", "-sS", "-m", "9", f"http://{address}:8006/").stdout

    with lan(2, host=network.host) as second:
        web, neighbour = network.container("web"), second.station()
        with (
            running(vmnet, web, VMNET_KEEP_PORTS="8006") as (process, _),
            web_server(web, "container", 8006),
        ):
            late = second.attach(web, "eth1", gateway=False)
            _await(process, CONNECTED)
            assert page(neighbour, late.address) == "container"
            assert page(network.host, web.address) == "container"
            second.host.ip("link", "delete", late.port)
            _await(process, DISCONNECTED)
            assert page(network.host, web.address) == "container"


def _await(process: Process, word: str) -> None:
    until(lambda: word in process.output(), WAIT, repr(word), detail=process.output)


def _master(container: Namespace, name: str) -> str:
    link = container.link(name)
    assert link
    return str(link.get("master"))


def _ask(vmnet: Vmnet, process: Process, *arguments: str) -> Any:
    entered = ("nsenter", "-t", str(process.pid), "--net", "--pid", "--mount")
    return json.loads(run(*entered, *VMNET, *arguments, env=vmnet.environ, check=False).stdout)
