"""Networks of a running VM that come and go, with a program in QEMU's place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.lab.command import Process, run
from tests.lab.net.frames import heard
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import web_server
from tests.lab.net.tap_guest import behind_tap
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, bridge_address, hypervisor, is_vm
from tests.netns.test_kept_ports import filtering, page
from tests.unit.qmp import Qemu, qemu
from vmnet.lifecycle.changes import hotplug

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


def test_a_network_that_comes_while_another_is_being_added(network: Lan, vmnet: Vmnet) -> None:
    """``docker network connect`` of two networks, one right after the other."""
    with lan(2, host=network.host) as second, lan(3, host=network.host) as third:
        web = network.container("web")
        with running(vmnet, web) as (process, _):
            peer = ("peer", "name", "eth1", "netns", web.name)
            second.host.ip("link", "add", "late", "type", "veth", *peer)
            web.ip("link", "set", "eth1", "up")
            record = vmnet.run_dir / "uplinks.json"

            def is_pending() -> bool:
                return bool(json.loads(record.read_text())["pending"] == "eth1")

            # It now waits two seconds for an address.
            until(is_pending, WAIT, "vmnet to add eth1", interval=0.01, detail=process.output)
            late = third.attach(web, "eth2", gateway=False)
            _await(process, f"eth2 was connected: the guest has a new NIC, {late.mac}")
            assert CONNECTED in process.output()


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


@pytest.mark.parametrize(
    ("strategy", "kind"), [("bridge", "veth"), ("redirect", "veth"), ("auto", "macvlan")]
)
def test_a_replaced_nic_joins_the_guests_nic(
    network: Lan, vmnet: Vmnet, strategy: str, kind: str
) -> None:
    """containerlab does this when it rebuilds a link. The new NIC has another MAC."""
    web = network.container("web", kind=kind, resolv_conf="nameserver 127.0.0.11\n")
    first, station = web.nic(), network.station()
    with running(vmnet, web, VMNET_BRIDGE=strategy) as (process, stand_in):
        web.ip("link", "delete", "eth0")
        _await(process, "eth0 is gone, and the VM is off its network")
        until(lambda: "set_link" in stand_in.told, WAIT, "the carrier to go", detail=process.output)
        network.attach(web, "eth0", address=first.address, mac="02:42:00:00:00:07", kind=kind)
        _await(process, "eth0 was replaced: the guest's NIC is on its network again")
        assert stand_in.told.count("set_link") == 2
        if strategy == "bridge":
            assert _master(web, "eth0") == _master(web, "tap0") == "br0"
        reason = _ask(vmnet, process, "health", "--json")["reason"]
        assert "eth0 is gone" not in reason
        assert not web.addresses("eth0")
        _require_reach(web, first.mac, first.address, station)
    with vmnet.running(web) as process:
        assert f"{first.address}/24" in process.output()


def test_a_replaced_nic_brings_another_address(network: Lan, vmnet: Vmnet) -> None:
    """``docker network disconnect`` and ``connect`` do this."""
    web = network.container("web", resolv_conf="nameserver 127.0.0.11\n")
    before = web.nic()
    with running(vmnet, web) as (process, _):
        network.host.ip("link", "delete", before.port)
        _await(process, "eth0 is gone")
        network.attach(web, "eth0", address="172.30.1.99", mtu=1400)
        _await(process, "eth0 was replaced: the guest's NIC is on its network again, with 172.30.1")
        (interface,) = _ask(vmnet, process, "status", "--json")["identity"]["interfaces"]
        own = interface["mac"], interface["addresses"], interface["mtu"]
        assert own == (before.mac, ["172.30.1.99/24"], 1400)
        config = (vmnet.run_dir / "dnsmasq.conf").read_text()
        assert f"dhcp-host={before.mac},tag:!decline,set:br0,172.30.1.99," in config
        assert before.address not in config
        assert web.run("ip", "neigh", "show", "dev", "br0").stdout.split()[0] == "172.30.1.99"
    with vmnet.running(web) as process:
        assert "172.30.1.99/24" in process.output()


@pytest.mark.parametrize("kept", ["", "8006"])
def test_a_replaced_nic_has_another_name(network: Lan, vmnet: Vmnet, kept: str) -> None:
    """Docker numbers the NICs of a container on when it connects a network again."""
    web = network.container("web", resolv_conf="nameserver 127.0.0.11\n")
    first, station = web.nic(), network.station()
    with running(vmnet, web, VMNET_KEEP_PORTS=kept) as (process, stand_in):
        network.host.ip("link", "delete", first.port)
        _await(process, "eth0 is gone")
        until(lambda: "set_link" in stand_in.told, WAIT, "the carrier to go", detail=process.output)
        network.attach(web, "eth1", address=first.address, mac=first.mac)
        _await(process, "eth0 was replaced by eth1: the guest's NIC is on its network again")
        assert "device_add" not in stand_in.told
        assert process.output().count("does not report the name of this network") == 2
        assert _master(web, "eth1") == _master(web, "tap0") == "br0"
        _require_reach(web, first.mac, first.address, station)
        assert filtering(web) == ("table netdev vmnet-eth1\n" if kept else "")
        network.host.ip("link", "delete", web.nics["eth1"].port)
        _await(process, "eth1 is gone")


@pytest.mark.parametrize("strategy", ["bridge", "redirect"])
def test_an_address_is_added_and_withdrawn(network: Lan, vmnet: Vmnet, strategy: str) -> None:
    web = network.container("web", ipv6=True)
    first, station = web.nic(), network.station(ipv6=True)
    with running(vmnet, web, VMNET_BRIDGE=strategy) as (process, stand_in):
        web.ip("address", "add", "172.30.1.77/24", "dev", "eth0")
        web.sysctl(net__ipv6__conf__eth0__disable_ipv6=0)
        web.ip("address", "add", "fd00:30:1::77/64", "dev", "eth0", "nodad")
        both = f"{first.address}/24 172.30.1.77/24"
        _await(process, "fd00:30:1::77/64, MTU 1500")
        assert stand_in.told.count("set_link") % 2 == 0
        assert not [own for own in web.addresses("eth0") if own["scope"] == "global"]
        withdrawn = (f"{first.address}/24", "dev", "eth0", "preferred_lft", "0")
        web.ip("address", "add", *withdrawn)
        _await(process, "eth0 was changed: the guest gets 172.30.1.77/24")
        config = (vmnet.run_dir / "dnsmasq.conf").read_text()
        assert "172.30.1.77" in config
        assert first.address not in config
        ipv6 = json.loads((vmnet.run_dir / "responder.json").read_text())["nics"][0]
        assert ipv6["addresses"] == [first.address6, "fd00:30:1::77"]
        changes = _ask(vmnet, process, "status", "--json")["changes"]
        assert changes[-1].endswith("MTU 1500")
        _require_reach(web, first.mac, "172.30.1.77", station)
    with vmnet.running(web, VMNET_BRIDGE=strategy) as process:
        assert "172.30.1.77/24" in process.output()
        assert both not in process.output()


def test_a_smaller_mtu_and_a_route_reach_the_guest(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    own = f"{web.address}/24"
    with running(vmnet, web) as (process, _):
        web.ip("link", "set", "eth0", "mtu", "1400")
        _await(process, f"eth0 was changed: the guest gets {own}, MTU 1400")
        assert [(web.link(name) or {})["mtu"] for name in ("br0", "tap0")] == [1400, 1400]
        assert "option:mtu,1400" in (vmnet.run_dir / "dnsmasq.conf").read_text()
        web.batch(
            (
                "address add 172.30.1.77/24 dev eth0",
                f"route add 10.9.0.0/16 via {network.gateway} dev eth0",
            )
        )
        _await(process, "172.30.1.77/24, MTU 1400")
        (interface,) = _ask(vmnet, process, "status", "--json")["identity"]["interfaces"]
        assert "10.9.0.0/16" in [route["destination"] for route in interface["routes"]]
        assert not web.run("ip", "route", "show", "dev", "eth0").stdout
        web.ip("link", "set", "eth0", "mtu", "1500")
        _await(process, "172.30.1.77/24, MTU 1500")
    with vmnet.running(web):
        routes = _captured_routes(vmnet)
        assert "10.9.0.0/16" in routes
        assert "0.0.0.0/0" in routes


def test_addresses_that_a_guest_cannot_have(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web")
        second.attach(web, "eth1", gateway=False)
        other = web.nics["eth1"].address
        with running(vmnet, web) as (process, stand_in):
            before = (vmnet.run_dir / "dnsmasq.conf").read_text()
            bad = ("169.254.7.7/16", "127.9.9.9/8", f"{other}/24", f"{network.gateway}/24")
            for own in bad:
                web.ip("address", "add", own, "dev", "eth0", "scope", "global")
            for own in bad:
                _await(process, f"eth0: {own} can't be an address of the guest: ignored")
            until(lambda: not web.addresses("eth0"), WAIT, "the addresses to go")
            assert (vmnet.run_dir / "dnsmasq.conf").read_text() == before
            assert "set_link" not in stand_in.told


@pytest.mark.parametrize("strategy", ["bridge", "redirect"])
def test_a_change_that_the_running_vm_cannot_follow(
    network: Lan, vmnet: Vmnet, strategy: str
) -> None:
    web, world = network.container("web"), network.world()
    own = "172.30.1.77"
    with (
        running(vmnet, web, VMNET_BRIDGE=strategy, VMNET_KEEP_PORTS="8006") as (process, _),
        web_server(web, "container", 8006),
    ):
        web.ip("address", "add", f"{own}/24", "dev", "eth0")
        _await(process, "eth0 was changed; the guest sees it after a restart: the rules of VMNET_K")
        assert process.output().count("eth0 was changed") == 1
        assert own not in [each["local"] for each in web.addresses("eth0")]
        assert page(world, web.address, 8006) == "container"
        web.ip("link", "set", "eth0", "mtu", "1400")
        until(
            lambda: process.output().count("eth0 was changed") == 2,
            WAIT,
            "the second change",
            detail=process.output,
        )
    with vmnet.running(web, VMNET_BRIDGE=strategy, VMNET_KEEP_PORTS="8006") as process:
        assert f"{web.address}/24 {own}/24" in process.output()
        assert (web.link("eth0") or {})["mtu"] == 1400


def test_a_failed_change_is_undone(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with running(vmnet, web) as (process, stand_in):
        before = (vmnet.run_dir / "dnsmasq.conf").read_text()
        stand_in.refused.add("set_link")
        web.ip("address", "add", "172.30.1.77/24", "dev", "eth0")
        _await(process, "eth0 was changed; the guest sees it after a restart: QEMU does not carry")
        assert (vmnet.run_dir / "dnsmasq.conf").read_text() == before


def test_a_network_that_is_connected_while_the_vm_starts(network: Lan, vmnet: Vmnet) -> None:
    """``docker run -d …; docker network connect …`` does this."""
    with lan(2, host=network.host) as second:
        web = network.container("web", resolv_conf="nameserver 127.0.0.11\n")
        probed = network.station("probed")
        probing = {"NO_DHCP": "true", "VMNET_BRIDGE_ADDRESS": "spare", "VMNET_HOTPLUG": "4"}
        vmnet.run_dir.mkdir()
        with ExitStack() as served, ExitStack() as unserved:
            # vmnet does not connect to the control socket before the stand-in serves there.
            unserved.enter_context(hotplug.exclusive(vmnet.run_dir))
            card = served.enter_context(heard(probed))
            environ = {**vmnet.environ, **probing}
            process = served.enter_context(web.popen(*VMNET, "run", env=environ, pid=True))
            while card.recv(2048)[12:14] != b"\x08\x06":  # an ARP probe for a spare address
                pass
            late = second.attach(web, "eth1", gateway=False)
            until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
            path = vmnet.run_dir / "qmp.sock"
            path.unlink()
            served.enter_context(qemu(path))
            unserved.close()
            _await(process, f"{CONNECTED}: the guest has a new NIC, {late.mac}")


def test_the_containers_default_route_survives_a_new_network(network: Lan, vmnet: Vmnet) -> None:
    """An engine moves the default route to the new network. The DNS forwarder still needs it."""
    with lan(2, host=network.host) as second:
        web = network.container("web", resolv_conf="nameserver 127.0.0.11\n")
        with running(vmnet, web) as (process, _):
            bridge_address(web)
            web.ip("route", "delete", "default")
            second.attach(web, "eth1")
            _await(process, CONNECTED)
            _await(process, f"br0 has the container's default route again, by {network.gateway}")
            shown = web.run("ip", "route", "show", "default").stdout
            assert shown.startswith(f"default via {network.gateway} dev br0")
            # Docker moves its route back when the network goes, and refuses if there is one.
            web.ip("route", "add", "default", "via", network.gateway)


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


@pytest.mark.parametrize("strategy", ["bridge", "redirect"])
def test_a_replaced_nic_keeps_ports_and_localhost(
    network: Lan, vmnet: Vmnet, strategy: str
) -> None:
    web = network.container("web", resolv_conf="nameserver 127.0.0.11\n")
    first, world = web.nic(), network.world()
    # Otherwise the host's bridge takes another MAC with its ports, which others learn later.
    network.host.ip("link", "set", network.bridge, "address", "02:42:00:00:00:01")
    with (
        running(
            vmnet,
            web,
            VMNET_KEEP_PORTS="8006",
            VMNET_LOCALHOST="on",
            VMNET_BRIDGE=strategy,
        ) as (process, _),
        web_server(web, "container", 8006),
        behind_tap(hypervisor(web), first.mac) as vm,
    ):
        vm.ip("address", "add", f"{first.address}/24", "dev", "eth0")
        vm.ip("route", "add", "default", "via", network.gateway)
        with web_server(vm, "guest", 80):
            assert page(world, first.address, 8006) == "container"
            assert page(web, "127.0.0.1", 80) == "guest"
            network.host.ip("link", "delete", first.port)
            _await(process, "eth0 is gone")
            # An engine could not add a second one.
            default = "the default route to go"
            until(lambda: not web.run("ip", "route", "show", "default").stdout, WAIT, default)
            network.attach(web, "eth0", address=first.address, mac="02:42:00:00:00:07")
            _await(process, "eth0 was replaced: the guest's NIC is on its network again")
            if strategy == "bridge":
                _await(process, "br0 has the container's default route again")
            assert page(world, first.address, 8006) == "container"
            assert page(world, first.address, 80) == "guest"
            assert page(web, "127.0.0.1", 80) == "guest"


def _await(process: Process, word: str) -> None:
    until(lambda: word in process.output(), WAIT, repr(word), detail=process.output)


def _require_reach(web: Namespace, mac: str, own: str, station: Namespace) -> None:
    """Require that the guest reaches a station from one of its addresses."""
    with behind_tap(hypervisor(web), mac) as guest:
        guest.ip("address", "add", f"{own}/24", "dev", "eth0")
        guest.run("ping", "-c1", "-w9", station.address)


def _captured_routes(vmnet: Vmnet) -> list[str]:
    state = json.loads((vmnet.run_dir / "state.json").read_text())
    (interface,) = state["identity"]["interfaces"]
    return [route["destination"] for route in interface["routes"]]


def _master(container: Namespace, name: str) -> str:
    link = container.link(name)
    assert link
    return str(link.get("master"))


def _ask(vmnet: Vmnet, process: Process, *arguments: str) -> Any:
    entered = ("nsenter", "-t", str(process.pid), "--net", "--pid", "--mount")
    return json.loads(run(*entered, *VMNET, *arguments, env=vmnet.environ, check=False).stdout)
