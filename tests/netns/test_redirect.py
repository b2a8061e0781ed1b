"""Networks that are handed over by redirection: macvlan networks, and networks like Docker's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface

import pytest
from attrs import evolve

from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.clients.dhcp6 import dhclient6
from tests.lab.command import Process, run
from tests.lab.net.frames import forged, heard, send, until_seen
from tests.lab.net.lan import WORLD, WORLD6, Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import dns_server, dnsmasq, web_server
from tests.lab.net.snapshot import require_same
from tests.lab.net.tap_guest import behind_tap
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, hypervisor
from tests.netns.test_frames import ENGINE, ON_LOOPBACK
from tests.netns.test_ipv6 import routers
from tests.netns.test_names import resolve, resolver
from tests.unit import frames
from vmnet import testing
from vmnet.cli import check
from vmnet.errors import BridgeError
from vmnet.model.wiring import Redirect, Requirements
from vmnet.net import namespace_record
from vmnet.net.filters import clsact
from vmnet.net.packets import mac_bytes
from vmnet.strategies.auto import plan as auto
from vmnet.strategies.redirect import plan as redirect

KINDS = ("veth", "macvlan")
_TIMED_OUT = 28  # curl's exit status
REDIRECT = {"VMNET_BRIDGE": "redirect"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of the container's interface."""
    return str(request.param)


@contextmanager
def guest(container: Namespace) -> Iterator[Namespace]:
    """The guest, with the lease that it requested."""
    with behind_tap(hypervisor(container), container.mac) as vm:
        udhcpc(vm).configure(vm)
        yield vm


def own_address(container: Namespace) -> str:
    """The tap's link-local address."""
    (own,) = (own for own in addresses(container, "tap0") if own.is_link_local)
    return str(own)


def spare_address(container: Namespace, process: Process) -> str:
    """The address that the responder takes after the start, on both sides."""
    log = process.output
    until(lambda: "out0 now has the address" in log(), WAIT, "the address", detail=log)
    (own,) = addresses(container, "out0")
    assert own in addresses(container, "tap0")
    return str(own)


def addresses(container: Namespace, device: str) -> list[IPv4Address]:
    found = container.addresses(device)
    return [IPv4Address(own["local"]) for own in found if own["family"] == "inet"]


def test_the_guest_has_the_containers_network(network: Lan, vmnet: Vmnet, kind: str) -> None:
    web, station = network.container("web", ipv6=True, kind=kind), network.station(ipv6=True)
    world = network.world()
    before = web.dump()
    with vmnet.running(web, **REDIRECT), behind_tap(hypervisor(web), web.mac) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        assert lease.address == IPv4Interface(f"{web.address}/24")
        assert lease.routers == lease.dns == (IPv4Address(network.gateway),)
        assert routers(vm) == [network_link_local(network)]
        vm.ip("address", "add", f"{dhclient6(vm).address}/128", "dev", "eth0", "nodad")
        largest = ("-c1", "-W5", "-M", "do", "-s")
        vm.run("ping", *largest, "1472", WORLD)
        vm.run("ping", "-6", *largest, "1452", WORLD6)
        world.run("ping", *largest, "1472", web.address)
        station.run("ping", "-6", *largest, "1452", str(web.nic().address6))
        replies = station.run("arping", "-c3", "-w30", "-I", "eth0", web.address).stdout
        assert (replies.count("reply from"), replies.count("[" + web.mac.upper() + "]")) == (3, 3)
    vmnet(web, "run", VMNET_QEMU="/nonexistent")  # restores the network
    require_same(before, web.dump())


def network_link_local(network: Lan) -> str:
    (own,) = (a["local"] for a in network.host.addresses(network.bridge) if a["scope"] == "link")
    return str(own)


def test_automatic_choice(network: Lan, vmnet: Vmnet) -> None:
    """The bridge for a veth, a redirection for a macvlan, in one container."""
    with lan(2, host=network.host) as second:
        web = network.container("web", gateway=False)
        second.attach(web, "eth1", kind="macvlan")
        before = web.dump()
        with vmnet.running(web) as process:
            said = process.output()
            assert "eth1 is a macvlan interface: VMNET_BRIDGE=redirect applies to it" in said
            assert said.count("VMNET_BRIDGE") == 1
            assert [web.link(name) is not None for name in ("br0", "br1")] == [True, False]
            for number, far in enumerate((network, second)):
                own = web.nic(f"eth{number}")
                with behind_tap(hypervisor(web), own.mac, tap=100 + number) as vm:
                    lease = udhcpc(vm)
                    lease.configure(vm)
                    assert str(lease.address.ip) == own.address
                    vm.run("ping", "-c1", "-W5", far.gateway)
        vmnet(web, "run", VMNET_QEMU="/nonexistent")
        require_same(before, web.dump())


def test_a_second_vm_and_a_start_after_the_saved_state_was_lost(
    network: Lan, vmnet: Vmnet, kind: str
) -> None:
    web = network.container("web", resolv_conf=ON_LOOPBACK, kind=kind)
    lost = {"VMNET_RUN_DIR": str(vmnet.run_dir.with_name("lost"))}
    with vmnet.running(web, **REDIRECT):
        second = vmnet(web, "run", **lost)
    web.run("nft", "delete", "table", "ip", namespace_record.TABLE)
    after = vmnet(web, "run", **lost)
    for refused in (second, after):
        assert refused.returncode == BridgeError.exit_code, refused.stderr
        assert "eth0 is already redirected to a VM" in refused.stderr


def test_a_bridge_of_a_macvlan_is_refused(network: Lan, vmnet: Vmnet) -> None:
    refused = vmnet(network.container("web", kind="macvlan"), "plan", VMNET_BRIDGE="bridge")
    assert refused.returncode == BridgeError.exit_code
    assert "eth0 is a macvlan interface, which can't be a port of a bridge" in refused.stderr
    assert "VMNET_BRIDGE=redirect" in refused.stderr


def test_a_gateway_with_a_permanent_mac_is_refused(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    entry = (network.gateway, "dev", "eth0", "lladdr", "02:00:00:00:00:01", "nud", "permanent")
    web.ip("neighbour", "add", *entry)
    refused = vmnet(web, "plan", **REDIRECT)
    assert refused.returncode == BridgeError.exit_code
    assert f"the gateway {network.gateway} of eth0 has a permanent MAC" in refused.stderr
    assert vmnet(web, "plan").returncode == 0, "auto chooses the bridge"


@pytest.mark.parametrize(
    ("name", "module"),
    [("_QDISC", "sch_ingress"), ("_CLASSIFIER", "cls_bpf"), ("_ACTION", "act_mirred")],
)
def test_check_and_start_name_the_module_that_the_kernel_lacks(
    network: Lan, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    """The kernel looks for a module that no kernel has. The plan needs no device to find out."""
    web = network.container("web", kind="macvlan")
    own = testing.interface(f"{web.address}/24", mac=web.mac, kind="macvlan")
    identity, settings = testing.identity(own), testing.settings()
    before = web.dump()
    with web.entered():
        wiring = auto.vmnet_bridge_plan(settings, identity, Requirements(contain=True))
        assert check.filters(wiring).result == "ok"
        monkeypatch.setattr(clsact, name, b"vmtabsent\0")
        finding = check.filters(wiring)
        message = f"can't redirect the frames of eth0: the kernel lacks {module}"
        assert (finding.result, finding.detail) == ("missing", message)
        assert f"`modprobe {module}` on the host" in finding.remedy
        require_same(before, web.dump())
        if module == "act_mirred":
            with pytest.raises(BridgeError, match=message):
                auto.vmnet_bridge_plan(settings, identity, Requirements(contain=True))
        with pytest.raises(BridgeError, match=message):
            auto.vmnet_bridge_build(settings, wiring)
        monkeypatch.undo()
        auto.vmnet_bridge_restore(settings, wiring)
    require_same(before, web.dump())


def test_check_warns_of_missing_filters(network: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    with network.container("web").entered():
        monkeypatch.setattr(clsact, "_CLASSIFIER", b"vmtabsent\0")
        finding = check.filters(testing.wiring(testing.identity()))
    assert finding.result == "warning"
    assert finding.detail == "the kernel lacks cls_bpf: a start would filter no packets"


def test_names_of_the_engine_and_of_the_world(network: Lan, vmnet: Vmnet, kind: str) -> None:
    """The engine's resolver queries the world from the container's namespace."""
    web = network.container("web", resolv_conf=ON_LOOPBACK, kind=kind)
    world = network.world()
    with (
        dns_server(world, {"www.outside.test": "192.0.2.80"}),
        resolver(web, {"db": "192.0.2.7"}),
        vmnet.running(web, **REDIRECT) as process,
        guest(web) as vm,
    ):
        own = own_address(web)
        assert resolve(vm, "db.internal.test", own) == {"192.0.2.7"}
        spare_address(web, process)
        assert resolve(web, "www.outside.test", WORLD) == {"192.0.2.80"}  # as the engine does


def test_a_guest_that_requests_no_classless_routes(network: Lan, vmnet: Vmnet, kind: str) -> None:
    """It reaches only the nameservers of its subnet. Exactly one machine answers for them."""
    web = network.container("web", resolv_conf=ON_LOOPBACK, kind=kind)
    with (
        resolver(web, {"db": "192.0.2.7"}),
        vmnet.running(web, **REDIRECT) as process,
        behind_tap(hypervisor(web), web.mac) as vm,
    ):
        own = spare_address(web, process)
        lease = udhcpc(vm, asked=("hostname", "mtu"))
        lease.configure(vm)
        assert (lease.routes, lease.dns) == ((), (IPv4Address(own),))
        assert resolve(vm, "db.internal.test", own) == {"192.0.2.7"}
        replies = vm.run("arping", "-c2", "-w30", "-I", "eth0", own).stdout
        assert (replies.count("reply from"), replies.count(mac_of(web, "tap0"))) == (2, 2)
        other = network.container("other", address=own)
        other.run("ping", "-c1", "-W5", network.gateway)  # sends ARP from its address
        log = process.output
        until(lambda: "out0 gives it up" in log(), WAIT, "the loss", detail=log)
        vm.ip("neighbour", "flush", "dev", "eth0")
        vm.run("ping", "-c1", "-W5", own)
        replies = vm.run("arping", "-c2", "-w30", "-I", "eth0", own).stdout
        assert (replies.count("reply from"), replies.count(other.mac.upper())) == (2, 2)


def test_the_forwarder_of_cloudinit_claims_its_address_after_the_start(
    network: Lan, vmnet: Vmnet
) -> None:
    web = network.container("web", resolv_conf=ON_LOOPBACK, kind="macvlan")
    network.world()
    chosen = {"VMNET_IPAM": "cloudinit", **REDIRECT}
    with (
        resolver(web, {"db": "192.0.2.7"}),
        vmnet.running(web, **chosen) as process,
        behind_tap(hypervisor(web), web.mac) as vm,
    ):
        spare_address(web, process)
        web.run("ping", "-c1", "-W5", WORLD)  # like an engine that queries upstream servers
        vm.ip("address", "add", f"{web.address}/24", "dev", "eth0")
        vm.ip("route", "add", own_address(web), "dev", "eth0")
        assert resolve(vm, "db.internal.test", own_address(web)) == {"192.0.2.7"}


def mac_of(container: Namespace, device: str) -> str:
    """As arping shows it."""
    link = container.link(device)
    assert link is not None
    return str(link["address"]).upper()


@pytest.mark.parametrize("mode", ["private", "vepa", "passthru"])
def test_other_modes_of_macvlan(network: Lan, vmnet: Vmnet, mode: str) -> None:
    """In all but passthru, the container has a second device, whatever the mode of the NIC."""
    kind = f"macvlan mode {mode}"
    web = network.container("web", ipv6=True, kind=kind, resolv_conf=ON_LOOPBACK)
    station, world = network.station(ipv6=True), network.world()
    before = web.dump()
    with (
        resolver(web, {"db": "192.0.2.7"}),
        vmnet.running(web) as process,
        guest(web) as vm,
    ):
        address6 = str(web.nic().address6)
        vm.ip("address", "add", f"{address6}/64", "dev", "eth0", "nodad")
        vm.run("ping", "-c1", "-W5", WORLD)
        world.run("ping", "-c1", "-W5", web.address)
        station.run("ping", "-6", "-c1", "-W5", address6)
        replies = station.run("arping", "-c3", "-w30", "-I", "eth0", web.address).stdout
        assert (replies.count("reply from"), replies.count(web.mac.upper())) == (3, 3)
        assert resolve(vm, "db.internal.test", own_address(web)) == {"192.0.2.7"}
        if mode == "passthru":
            assert "eth0 is a macvlan interface in mode passthru" in process.output()
            assert web.link("out0") is None
        else:
            spare_address(web, process)
            web.run("ping", "-c1", "-W5", WORLD)
    vmnet(web, "run", VMNET_QEMU="/nonexistent")
    require_same(before, web.dump())


def test_a_neighbour_reaches_only_the_guest(network: Lan, vmnet: Vmnet, kind: str) -> None:
    """The container's way out gives the network no service of the container's forwarder."""
    web = network.container("web", resolv_conf=ON_LOOPBACK, kind=kind)
    station = network.station()
    with (
        dnsmasq(web, *ENGINE) as engine,
        vmnet.running(web, **REDIRECT) as process,
        guest(web) as vm,
    ):
        spare, own = spare_address(web, process), own_address(web)
        station.run("ping", "-c1", "-W5", spare)
        station.ip("route", "add", "169.254.0.0/16", "dev", "eth0")
        before = engine.output().count("query[A] db.test")
        for address in (spare, own):
            ask = ("timeout", "1", "busybox", "nslookup", "-type=a", "db.test", address)
            assert station.run(*ask, check=False).returncode
        assert engine.output().count("query[A] db.test") == before
        assert resolve(vm, "db.test", own) == {"192.0.2.7"}
        replies = station.run("arping", "-c2", "-w30", "-I", "eth0", spare).stdout
        assert (replies.count("reply from"), replies.count(mac_of(web, "out0"))) == (2, 2)


def test_the_way_out_yields_its_address_to_a_container(
    network: Lan, vmnet: Vmnet, kind: str
) -> None:
    web = network.container("web", resolv_conf=ON_LOOPBACK, kind=kind)
    network.world()
    with vmnet.running(web, **REDIRECT) as process:
        own = spare_address(web, process)
        web.run("ping", "-c1", "-W5", WORLD)
        other = network.container("other", address=own)
        other.run("ping", "-c1", "-W5", network.gateway)
        log = process.output
        taken = "out0 now has the address"
        until(lambda: log().count(taken) == 2, WAIT, "the change", detail=log)
        assert addresses(web, "out0") != [IPv4Address(own)]
        web.run("ping", "-c1", "-W5", WORLD)


def test_a_guest_reaches_nothing_in_the_container(network: Lan, vmnet: Vmnet, kind: str) -> None:
    web = network.container("web", resolv_conf=ON_LOOPBACK, kind=kind)
    station = network.station()
    web.sysctl(net__ipv4__ip_forward=1)
    with (
        vmnet.running(web, **REDIRECT) as process,
        web_server(web, port=8080),
        guest(web) as vm,
    ):
        own, out = own_address(web), spare_address(web, process)
        vm.run("ping", "-c1", "-W5", own)

        def fetch(address: str, seconds: int = 2) -> tuple[str, ...]:
            return ("curl", "-s", "--max-time", str(seconds), f"http://{address}:8080/")

        assert station.run(*fetch(out, WAIT // 2)).stdout == "hello\n"
        assert vm.run(*fetch(out), check=False).returncode == _TIMED_OUT
        vm.ip("route", "replace", out, "via", own, "onlink", "dev", "eth0")
        for address in (own, out):
            assert vm.run(*fetch(address), check=False).returncode == _TIMED_OUT


def test_a_guest_sends_only_from_its_own_addresses(network: Lan, vmnet: Vmnet, kind: str) -> None:
    web, station = network.container("web", ipv6=True, kind=kind), network.station()
    with vmnet.running(web, **REDIRECT), guest(web) as vm, heard(station) as card:
        last = forged(web.mac)  # of a protocol that a filtered guest may not use
        other = mac_bytes("02:42:00:00:00:99")
        forgeries = [
            frames.arp(network.gateway, mac=mac_bytes(web.mac)),
            frames.arp(web.address, mac=other),
            frames.ipv4("172.30.1.77", frames.UDP, frames.ports(1, 9)),
        ]
        truth = (
            b"\xff" * 6 + mac_bytes(web.mac) + frames.arp(web.address, mac=mac_bytes(web.mac))[12:]
        )
        sent = [b"\xff" * 6 + mac_bytes(web.mac) + frame[12:] for frame in forgeries]
        send(vm, *sent, last)
        send(vm, truth)
        found = until_seen(card, truth)  # the guest's own neighbour discovery, too
        assert not {*sent, last} & {*found}


def test_multicast_groups_of_the_guest(network: Lan, vmnet: Vmnet, kind: str) -> None:
    """The guest joins a group of which the container's kernel knows nothing."""
    web, station = network.container("web", kind=kind), network.station()
    with vmnet.running(web, **REDIRECT), guest(web) as vm, heard(vm) as card:
        group = bytes.fromhex("01005e4d4d4d")
        frame = group + forged(station.mac)[6:]
        send(station, frame)
        assert until_seen(card, frame) is not None


def test_an_interface_that_keeps_its_addresses_and_shares_its_mac(network: Lan) -> None:
    """A veth that is treated like an ipvlan interface, which not every kernel has."""
    web = network.container("web", extra=("172.30.1.200/24",))
    own = testing.interface(f"{web.address}/24", "172.30.1.200/24", mac=web.mac)
    settings = testing.settings({"VMNET_BRIDGE_ADDRESS": "link-local"})
    requirements = Requirements(contain=True, dns=True)
    before = web.dump()
    with web.entered():
        wiring = redirect.vmnet_bridge_plan(settings, testing.identity(own), requirements)
        (port,) = wiring.ports
        wiring = evolve(wiring, ports=(evolve(port, path=Redirect("ipvlan")),))
        try:
            redirect.vmnet_bridge_build(settings, wiring)
            with behind_tap(os.getpid(), web.mac) as vm, heard(vm) as card:
                vm.ip("route", "add", f"{own_address(web)}/32", "dev", "eth0")
                for address in (web.address, "172.30.1.200"):
                    vm.ip("address", "add", f"{address}/24", "dev", "eth0")
                    vm.run("ping", "-c1", "-W5", "-I", address, network.gateway)
                    network.host.run("ping", "-c1", "-W5", address)
                    web.run("ping", "-c1", "-W5", address)  # the guest, not the container
                assert {a["local"] for a in web.addresses("eth0")} >= {web.address, "172.30.1.200"}
                neighbours = mac_bytes(web.mac) + forged(web.mac)[6:]
                send(network.host, neighbours, by=web.nic().port)
                until_seen(card, neighbours)
        finally:
            redirect.vmnet_bridge_restore(settings, wiring)
    require_same(before, web.dump())


def test_a_dhcp_server_on_the_network(network: Lan, vmnet: Vmnet, kind: str) -> None:
    """With NO_DHCP, the guest's requests leave; otherwise they do not, and no offer enters."""
    web = network.container("web", kind=kind)
    offers = ("--dhcp-range=172.30.1.100,172.30.1.100,1h", f"--interface={network.bridge}")
    with dnsmasq(network.host, *offers, "--no-ping", port=0) as server:
        outside = vmnet.running(web, NO_DHCP="true", **REDIRECT)
        with outside, behind_tap(hypervisor(web), web.mac) as vm:
            assert str(udhcpc(vm).address.ip) == "172.30.1.100"
        asked = server.output().count("DHCPDISCOVER")
        vmnet(web, "run", VMNET_QEMU="/nonexistent")
        with vmnet.running(web, **REDIRECT), behind_tap(hypervisor(web), web.mac) as vm:
            assert str(udhcpc(vm).address.ip) == web.address
        assert server.output().count("DHCPDISCOVER") == asked


def test_the_state_of_a_redirected_vm(network: Lan, vmnet: Vmnet, kind: str) -> None:
    web = network.container("web", kind=kind)
    with vmnet.running(web, **REDIRECT) as process, guest(web):
        assert "eth0 by redirection" in vmnet(web, "plan", **REDIRECT).stdout
        entered = ("nsenter", "-t", str(process.pid), "--net", "--pid", "--mount")

        def status() -> str:
            return run(*entered, *VMNET, "status", env=vmnet.environ, check=False).stdout

        assert f"tap0 {own_address(web)}/32, eth0 by redirection" in status()
        # The cable of the guest's stand-in may be slower than the second that status allows.
        answers = f"the guest answers for {web.address}"
        until(lambda: answers in status(), WAIT, "the guest's answer", detail=status)
        web.run("tc", "qdisc", "delete", "dev", "eth0", "clsact")
        log, lost = process.output, "the frames of eth0 are no longer redirected to tap0"
        until(lambda: lost in log(), WAIT, "the lost redirection in the log", detail=log)
        assert lost in run(*entered, *VMNET, "health", env=vmnet.environ, check=False).stdout
        network.host.ip("link", "set", web.nic().port, "down")
        until(
            lambda: "eth0 has no carrier" in log(), WAIT, "the lost carrier in the log", detail=log
        )


def test_the_responder_outlives_the_device_next_to_a_nic_that_is_gone(
    network: Lan, vmnet: Vmnet
) -> None:
    """A macvlan on a veth goes with it. The responder also serves the VM's other NICs."""
    web = network.container("web", resolv_conf=ON_LOOPBACK, ipv6=True)
    with vmnet.running(web, **REDIRECT) as process:
        first = web.pid_of("vmnet-responder")
        network.host.ip("link", "delete", web.nic().port)
        log = process.output
        until(lambda: "eth0 is gone" in log(), WAIT, "the lost NIC in the log", detail=log)
        assert web.link("out0") is None
        assert web.pid_of("vmnet-responder") == first
        os.kill(first, signal.SIGKILL)
        until(lambda: web.pids_of("vmnet-responder") not in ([], [first]), WAIT, "another one")
        assert "Traceback" not in log()
