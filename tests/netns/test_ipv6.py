"""IPv6 configuration of real clients and the kernel, on the guest's end of the tap."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from vmnet_dnsmasq import responder_delivery

from tests.lab.clients.dhcp6 import CLIENTS6, Client6, dhclient6, dhcpcd6
from tests.lab.net.lan import WORLD6, Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import dnsmasq
from tests.lab.net.tap_guest import behind_tap
from tests.lab.wait import WAIT, TimedOutError, until
from tests.netns.conftest import Vmnet, hypervisor
from vmnet import testing
from vmnet.api import Daemon
from vmnet.errors import LaunchError

RESPONDER = "vmnet-responder"
_SOLICITATION = ("-p", "icmpv6", "--icmpv6-type", "neighbour-solicitation")


@contextmanager
def machine(container: Namespace, number: int = 0, mac: str = "") -> Iterator[Namespace]:
    """A namespace with the guest's NIC behind the tap; the kernel configures its IPv6."""
    own = mac or container.nic(f"eth{number}").mac
    with behind_tap(hypervisor(container), own, tap=100 + number) as vm:
        yield vm


def routers(where: Namespace) -> list[str]:
    """Wait for an IPv6 default route, and return the gateways of all of them."""

    def found() -> list[str]:
        defaults = [route for route in where.routes() if route["dst"] == "default"]
        return [route["gateway"] for route in defaults if ":" in route["gateway"]]

    return until(found, WAIT, "a default route from a router advertisement")


def global_addresses(where: Namespace) -> list[str]:
    return [address["local"] for address in where.addresses("eth0") if address["scope"] == "global"]


def link_local(where: Namespace, device: str, ignore: str = "") -> str:
    """Wait for the address that the kernel gives a device once it has a carrier."""

    def found() -> list[str]:
        addresses = (own for own in where.addresses(device) if own["scope"] == "link")
        return [own["local"] for own in addresses if own["local"] != ignore]

    (own,) = until(found, WAIT, f"the link-local address of {device}")
    return str(own)


@pytest.mark.parametrize("client", CLIENTS6)
def test_the_client_gets_exactly_the_containers_address(
    network: Lan, vmnet: Vmnet, client: Client6
) -> None:
    resolver = "nameserver 2001:db8:51::53\nsearch one.test two.test\n"
    web = network.container("web", ipv6=True, resolv_conf=resolver)
    with vmnet.running(web), machine(web) as vm:
        lease = client(vm)
        assert "new_dhcp6_ia_na1_ia_addr2" not in lease.environment
    assert str(lease.address) == web.nic().address6
    assert lease.dns == (IPv6Address("2001:db8:51::53"),)
    assert lease.search == ("one.test", "two.test")


def test_the_guests_router_is_the_gateway_and_leads_beyond_it(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    network.world()
    with vmnet.running(web), machine(web) as vm:
        assert routers(vm) == [link_local(network.host, network.bridge)]
        assert global_addresses(vm) == []  # no address from a prefix (SLAAC)
        on_link = {route["dst"] for route in vm.routes() if route["protocol"] == "kernel"}
        assert on_link == {str(network.network6), "fe80::/64"}
        vm.ip("address", "add", f"{dhclient6(vm).address}/128", "dev", "eth0", "nodad")
        vm.run("ping", "-6", "-c1", "-W5", WORLD6)
        network.world().run("ping", "-6", "-c1", "-W5", str(web.nic().address6))
        forwarding = web.run("sysctl", "-n", "net.ipv6.conf.all.forwarding").stdout
    assert forwarding == "0\n"


def test_the_bridge_replaces_a_gateway_with_an_unknown_link_local_address(
    network: Lan, vmnet: Vmnet
) -> None:
    web = network.container("web", ipv6=True)
    network.world()
    hidden = "fe80::5"  # neither Docker's nor derived from the MAC
    network.host.sysctl(net__ipv6__icmp__echo_ignore_multicast=1)
    network.host.ip("address", "add", f"{hidden}/64", "dev", network.bridge, "nodad")
    own = f"{link_local(network.host, network.bridge, ignore=hidden)}/64"
    network.host.ip("address", "delete", own, "dev", network.bridge)
    with vmnet.running(web), machine(web) as vm:
        assert routers(vm) != [hidden]
        vm.ip("address", "add", f"{web.nic().address6}/128", "dev", "eth0", "nodad")
        vm.run("ping", "-6", "-c1", "-W5", WORLD6)
        vm.ip("-6", "neighbour", "flush", "dev", "eth0")
        vm.run("ping", "-6", "-c1", "-W5", WORLD6)


def test_a_gateway_that_is_silent_at_the_start_is_reported(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    network.host.ip("link", "set", network.bridge, "down")
    plan = vmnet(web, "plan", "--json", VMNET_INTERFACES="eth0")
    assert plan.returncode == 0, plan.stderr
    lines = [line for delivery in plan.json()["deliveries"] for line in delivery["not_carried"]]
    (line,) = (line for line in lines if "route to ::/0" in line)
    assert "its gateway does not answer" in line, line


def test_a_start_waits_for_a_gateway_to_answer(network: Lan, vmnet: Vmnet) -> None:
    """When the first container starts, the gateway may still run duplicate address detection."""
    web = network.container("web", ipv6=True)
    network.host.ip("address", "delete", f"{network.gateway6}/64", "dev", network.bridge)
    late = ("address", "add", f"{network.gateway6}/64", "dev", network.bridge, "nodad")
    timer = threading.Timer(1, network.host.ip, late)
    timer.start()
    plan = vmnet(web, "plan", "--json")
    timer.join()
    (eth0,) = plan.json()["identity"]["interfaces"]
    assert eth0["router"]["address"] == link_local(network.host, network.bridge)


def test_a_container_without_a_default_route_has_no_router(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True, gateway=False)
    with vmnet.running(web), machine(web) as vm:
        lease = dhcpcd6(vm)  # a router advertisement makes it ask
        defaults = [route for route in vm.routes() if route["dst"] == "default"]
    assert (str(lease.address), defaults) == (web.nic().address6, [])


def test_several_addresses_come_together(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True, extra=("fd00:30:1::200/64 nodad",))
    with vmnet.running(web), machine(web) as vm:
        environment = dhcpcd6(vm).environment
    found = {environment[f"new_dhcp6_ia_na1_ia_addr{number}"] for number in (1, 2)}
    assert found == {web.nic().address6, "fd00:30:1::200"}


def test_an_ipv6_only_container(network: Lan, vmnet: Vmnet) -> None:
    web = network.container(
        "web", ipv6=True, resolv_conf="nameserver 2001:db8:51::53\nnameserver 127.0.0.11\n"
    )
    web.ip("-4", "address", "flush", "dev", "eth0")
    network.world()
    with vmnet.running(web) as process, machine(web) as vm:
        lease = dhclient6(vm)
        vm.ip("address", "add", f"{lease.address}/128", "dev", "eth0", "nodad")
        assert routers(vm)
        vm.run("ping", "-6", "-c1", "-W5", WORLD6)
        assert web.pids_of("dnsmasq") == []
        assert "nameserver 127.0.0.11: the forwarder speaks only IPv4" in process.output()
    assert (str(lease.address), lease.dns) == (
        web.nic().address6,
        (IPv6Address("2001:db8:51::53"),),
    )


def test_several_interfaces_share_a_responder(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host, ipv6=True) as second:
        web = network.container("web", ipv6=True, gateway=False)
        second.attach(web, "eth1", ipv6=True)
        with vmnet.running(web):
            web.pid_of(RESPONDER)
            for number in (0, 1):
                with machine(web, number) as vm:
                    assert str(dhclient6(vm).address) == web.nic(f"eth{number}").address6
                    if number:
                        assert routers(vm) == [link_local(network.host, second.bridge)]


def test_the_guest_hears_no_other_router_on_the_network(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    web.sysctl(net__ipv6__conf__eth0__accept_ra=0)  # as in Docker's containers
    serves = ("--enable-ra", "--dhcp-range=fd00:30:1::,slaac", f"--interface={network.bridge}")
    with dnsmasq(network.host, *serves, port=0), vmnet.running(web), machine(web) as vm:
        assert routers(vm) == [link_local(network.host, network.bridge)]
        lease = dhclient6(vm)
        assert global_addresses(vm) == []
    assert str(lease.address) == web.nic().address6


def test_another_mac_is_not_answered(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    with vmnet.running(web), machine(web, mac="02:42:00:00:00:99") as vm:
        with pytest.raises(TimedOutError):
            dhclient6(vm, timeout=4)
        assert not [route for route in vm.routes() if route["dst"] == "default"]


def test_the_responder_survives_malformed_frames(network: Lan, vmnet: Vmnet) -> None:
    """The frames pass the filter and contain garbage."""
    web = network.container("web", ipv6=True)
    with vmnet.running(web), machine(web) as vm:
        pid = web.pid_of(RESPONDER)
        with vm.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
            card.bind(("eth0", 0))
            for frame in _garbage(bytes.fromhex(web.mac.replace(":", ""))):
                card.send(frame)
        assert str(dhcpcd6(vm).address) == web.nic().address6
        assert web.pids_of(RESPONDER) == [pid]


def _garbage(mac: bytes) -> Iterator[bytes]:
    head = b"\x33\x33\x00\x01\x00\x02" + mac + b"\x86\xdd"
    for seed in range(200):
        noise = bytes((seed * 7 + at * 13) & 0xFF for at in range(seed))
        for protocol, start in ((17, b"\x02\x22\x02\x23"), (58, b"\x85\x00"), (58, b"\x87\x00")):
            payload = start + noise
            length = (len(payload), 0xFFFF)[seed % 2].to_bytes(2, "big")
            yield head + b"\x60\0\0\0" + length + bytes((protocol, 255)) + bytes(32) + payload


def test_a_start_that_fails_leaves_no_responder(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    Path(vmnet.environ["VMNET_QEMU"]).write_bytes(b"\x7fELF but not really")
    ended = vmnet(web, "run")
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    assert web.pids_of(RESPONDER) == []
    assert [path.name for path in vmnet.run_dir.glob("responder.*")] == ["responder.log"]


def responder_behind_tap(container: Namespace, run_dir: Path) -> Daemon:
    """Make a tap, and return the responder that serves it, with its configuration written."""
    identity = testing.identity(testing.interface("fd00:30:1::2/64"))
    settings = testing.settings({"VMNET_RUN_DIR": str(run_dir)})
    delivery = responder_delivery.deliver(settings, identity, testing.wiring(identity))
    (file,), (daemon,) = delivery.files, delivery.daemons
    file.path.write_bytes(file.content)
    container.ip("tuntap", "add", "tap0", "mode", "tap")
    container.ip("link", "set", "tap0", "up")
    return daemon


@pytest.mark.parametrize("suffix", ["pid", "log", "json"])
def test_a_responder_that_cannot_write_says_so_in_a_line(
    network: Lan, tmp_path: Path, suffix: str
) -> None:
    """The run directory is on a full disk, or lacks the file."""
    web = network.container("web", ipv6=True)
    daemon = responder_behind_tap(web, tmp_path)
    path = tmp_path / f"responder.{suffix}"
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/full" if suffix == "pid" else "/nonexistent/file")
    ended = web.run(*daemon.argv, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(("cannot write", "cannot read"))
    assert str(path) in line
    until(lambda: not web.pids_of(RESPONDER), WAIT, "the responder to end")


def test_the_responder_ends_with_its_tap(network: Lan, tmp_path: Path) -> None:
    web = network.container("web", ipv6=True)
    daemon = responder_behind_tap(web, tmp_path)
    web.run(*daemon.argv)
    pid = web.pid_of(RESPONDER)
    assert int(daemon.pidfile.read_text()) == pid
    web.ip("link", "set", "tap0", "down")
    web.ip("link", "set", "tap0", "up")
    assert web.pids_of(RESPONDER) == [pid]
    web.ip("link", "delete", "tap0")
    until(lambda: not web.pids_of(RESPONDER), WAIT, "the responder to end")


@pytest.mark.parametrize("gateway", ["fe80::1", "fd00:30:1::1"])
@pytest.mark.parametrize("ipam", ["dnsmasq", "cloudinit"])
def test_a_gateway_with_a_permanent_mac_that_answers_no_neighbour_discovery(
    network: Lan, vmnet: Vmnet, gateway: str, ipam: str
) -> None:
    """AWS's CNI plugin configures a pod like this. Unlike Docker, it leaves IPv6 enabled."""
    web = network.container("web", ipv6=True, gateway=False)
    web.sysctl(net__ipv6__conf__default__disable_ipv6=0)
    web.ip("-6", "route", "add", "default", "via", gateway, "dev", "eth0")
    router = next(link for link in network.host.links() if link["ifname"] == network.bridge)
    entry = (gateway, "dev", "eth0", "lladdr", router["address"], "nud", "permanent")
    web.ip("neighbour", "add", *entry)
    network.host.ip("address", "replace", f"{gateway}/64", "dev", network.bridge, "nodad")
    silent = ("-i", network.bridge, *_SOLICITATION, "-j", "DROP")
    network.host.run("ip6tables", "-w", "-A", "INPUT", *silent)
    network.world()
    plan = vmnet(web, "plan", VMNET_IPAM=ipam)
    assert f"gateway {gateway} has the permanent MAC {router['address']}" in plan.stdout
    assert plan.stdout.endswith("Not carried to the guest\nnothing\n"), plan.stdout
    with vmnet.running(web, VMNET_IPAM=ipam), machine(web) as vm:
        if ipam == "dnsmasq":
            routers(vm)
        else:
            vm.ip("-6", "route", "add", "default", "via", gateway, "dev", "eth0", "onlink")
        vm.ip("address", "add", f"{web.nic().address6}/128", "dev", "eth0", "nodad")
        vm.run("ping", "-6", "-c1", "-W5", WORLD6)
        vm.run("ping", "-6", "-I", "eth0", "-c1", "-W5", gateway)
        (default,) = (route for route in vm.routes() if route["dst"] == "default")
        shown = vm.ip("-6", "neighbour", "show", default["gateway"]).stdout
        assert f"{router['address']} router" in shown
