"""Ports of the guest's addresses that the container keeps, seen from its network and beyond it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.net.lan import WORLD, Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import web_server
from tests.lab.net.snapshot import require_same
from tests.lab.net.tap_guest import behind_tap
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet, hypervisor

KEPT, GUESTS = 8006, 80
ECHO = """
import socket, sys
service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
service.bind(("", int(sys.argv[1])))
while True:
    size, peer = service.recvfrom(100)
    service.sendto(bytes(int(size)), peer)
"""
ASK = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(1)
client.connect((sys.argv[1], int(sys.argv[2])))
for _ in range(20):
    client.send(sys.argv[3].encode())
    try:
        print(len(client.recv(65536)))
        break
    except OSError:  # the service has not started yet
        pass
"""
TRANSFER = """
import socket, sys
where = "::", int(sys.argv[1])
service = socket.create_server(where, family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    peer, _ = service.accept()
    peer.sendall(bytes(8 << 20))
    while peer.recv(1 << 16):
        pass
    peer.sendall(b"done")
    peer.close()
"""
FETCH = """
import socket, sys, time
for _ in range(50):
    try:
        server = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
        break
    except ConnectionRefusedError:  # the service has not started yet
        time.sleep(0.1)
received = 0
while received < 8 << 20:
    received += len(server.recv(1 << 16))
server.sendall(bytes(8 << 20))
server.shutdown(socket.SHUT_WR)
assert server.recv(10) == b"done"
print(received)
"""


@contextmanager
def machine(container: Namespace) -> Iterator[Namespace]:
    """The guest, with the container's addresses, and a web server on both ports."""
    nic = container.nic()
    with behind_tap(hypervisor(container), nic.mac) as vm:
        vm.ip("address", "add", f"{nic.address}/24", "dev", "eth0")
        vm.ip("route", "add", "default", "via", "172.30.1.1")
        if nic.address6:
            vm.ip("address", "add", f"{nic.address6}/64", "dev", "eth0", "nodad")
            vm.ip("-6", "route", "add", "default", "via", "fd00:30:1::1")
        with web_server(vm, "guest", GUESTS), web_server(vm, "guest", KEPT):
            yield vm


def page(where: Namespace, address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    asked = ("curl", "-sS", "-g", "--noproxy", "*", "-m", "5", f"http://{host}:{port}/")
    return where.run(*asked, timeout=WAIT, check=False).stdout


def tables(container: Namespace) -> str:
    return container.run("nft", "list", "tables").stdout


@pytest.fixture
def web(network: Lan) -> Namespace:
    """A container whose engine allows IPv6 on new interfaces."""
    made = network.container("web", ipv6=True)
    made.sysctl(net__ipv6__conf__default__disable_ipv6=0)
    return made


def test_kept_ports_end_in_the_container_and_all_others_in_the_guest(
    network: Lan, vmnet: Vmnet, web: Namespace
) -> None:
    """The host filters the sources of its ARP requests strictly, as many distributions do."""
    for device in ("all", network.bridge):
        network.host.sysctl(**{f"net__ipv4__conf__{device}__rp_filter": 1})
    station, world = network.station(ipv6=True), network.world()
    with (
        vmnet.running(web, VMNET_KEEP_PORTS=f"{KEPT},9000-9100,161/udp"),
        machine(web),
        web_server(web, "container", KEPT),
        web_server(web, "container", 9050),
        web_server(web, "container", GUESTS),
    ):
        for where in (station, world, network.host):
            for own in (web.address, str(web.nic().address6)):
                assert page(where, own, KEPT) == "container", (where.label, own)
                assert page(where, own, 9050) == "container", (where.label, own)
                assert page(where, own, GUESTS) == "guest", (where.label, own)


def test_kept_ports_of_a_container_with_its_own_resolver(
    network: Lan, vmnet: Vmnet, web: Namespace
) -> None:
    """The kept ports' route is there before the bridge takes a spare address, and afterwards."""
    (web.etc / "resolv.conf").write_text("nameserver 127.0.0.11\n")
    world = network.world()
    with (
        vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT)) as process,
        web_server(web, "container", KEPT),
    ):
        log, said = process.output, "br0 now has the address "
        until(lambda: said in log(), WAIT, "the address", detail=log)
        assert page(world, web.address, KEPT) == "container"
        web.run("ping", "-c1", "-W5", WORLD)  # like an engine that queries upstream servers
        spare = log().partition(said)[2].split()[0]
        other = network.container("other", address=spare)
        other.run("ping", "-c1", "-W5", network.gateway)  # sends ARP from its address
        until(lambda: "br0 gives it up" in log(), WAIT, "the loss", detail=log)
        assert page(world, web.address, KEPT) == "container"


def test_a_kept_port_is_there_before_the_guest(network: Lan, vmnet: Vmnet, web: Namespace) -> None:
    """The container answers ARP for the address in the guest's place, once for each request."""
    world, station = network.world(), network.station()
    with vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT)), web_server(web, "container", KEPT):
        assert page(world, web.address, KEPT) == "container"
        asked = station.run("arping", "-c3", "-w9", "-I", "eth0", web.address).stdout
        assert "Received 3 response(s)" in asked, asked
        assert web.mac in asked.lower()
        with machine(web):
            station.ip("neighbour", "flush", "dev", "eth0")
            assert page(station, web.address, GUESTS) == "guest"
            asked = station.run("arping", "-c3", "-w9", "-I", "eth0", web.address).stdout
            assert "Received 3 response(s)" in asked, asked


@pytest.mark.parametrize("resolver", ["nameserver 127.0.0.11\n", "nameserver 172.30.1.1\n"])
def test_datagrams(network: Lan, vmnet: Vmnet, resolver: str) -> None:
    """A service that is bound to no address answers from the guest's address, whatever the bridge's
    first address is.
    """
    web = network.container("web", resolv_conf=resolver)
    world, station = network.world(), network.station()
    with (
        vmnet.running(web, VMNET_KEEP_PORTS="161/udp"),
        machine(web),
        web.popen(sys.executable, "-c", ECHO, "161"),
    ):
        for where in (world, station):
            for size in (10, 9000):  # the second answer is fragmented
                asked = where.run(sys.executable, "-c", ASK, web.address, "161", str(size))
                assert asked.stdout == f"{size}\n", asked.stderr


def test_large_answers_and_requests(network: Lan, vmnet: Vmnet, web: Namespace) -> None:
    """With offloads, a packet is larger than the MTU. Beyond the gateway, the MTU is smaller; the
    gateway's messages about this reach the guest.
    """
    station, world = network.station(ipv6=True), network.world()
    small = ("dev", "world0", "mtu", "lock", "1280")
    network.host.ip("route", "replace", "198.51.100.0/24", *small)
    network.host.ip("route", "replace", "2001:db8:51::/64", *small, "metric", "256")
    sink = web.popen(sys.executable, "-c", TRANSFER, str(KEPT))
    with vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT)), machine(web), sink:
        for where in (station, world):
            for own in (web.address, str(web.nic().address6)):
                done = where.run(sys.executable, "-c", FETCH, own, str(KEPT), timeout=WAIT)
                assert done.stdout == f"{8 << 20}\n", (where.label, own)


def test_each_address_has_its_kept_ports(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", extra=("172.30.1.77/24",))
    station = network.station()
    with (
        vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT)),
        web_server(web, "container", KEPT),
    ):
        assert page(station, web.address, KEPT) == "container"
        assert page(station, "172.30.1.77", KEPT) == "container"


def test_the_guest_does_not_reach_the_containers_services(
    network: Lan, vmnet: Vmnet, web: Namespace
) -> None:
    """The bridge's IPv6 address is on the guest's link."""
    with (
        vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT)),
        machine(web) as vm,
        web_server(web, "container", KEPT),
        web_server(network.host, "host", KEPT),
    ):
        own = [address["local"] for address in web.addresses("br0")]
        assert sorted(":" in address for address in own) == [False, True]
        for address in own:
            assert page(vm, f"{address}%25eth0" if ":" in address else address, KEPT) == ""
        assert page(vm, network.gateway, KEPT) == "host"


def test_the_network_is_put_back(network: Lan, vmnet: Vmnet, web: Namespace) -> None:
    before = web.dump()
    failed = vmnet(web, "run", VMNET_KEEP_PORTS=str(KEPT), VMNET_QEMU="/nonexistent")
    assert failed.returncode
    require_same(before, web.dump())
    assert tables(web) == ""
    with vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT)):
        assert tables(web) == "table netdev vmnet-eth0\n"
    again = vmnet(web, "run", VMNET_QEMU="/nonexistent")
    assert again.returncode
    require_same(before, web.dump())
    assert tables(web) == ""


def test_a_start_says_what_kept_ports_lack(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    plan = vmnet(web, "plan", VMNET_KEEP_PORTS="8006")
    assert plan.returncode == 0
    assert "over IPv4 only" in plan.stderr
    outside = vmnet(web, "run", VMNET_KEEP_PORTS="8006", NO_DHCP="true")
    assert outside.returncode == 10
    assert "VMNET_KEEP_PORTS=8006/tcp needs the guest's addresses" in outside.stderr


def test_a_program_nft_that_the_kernel_refuses_changes_nothing(
    network: Lan, vmnet: Vmnet, tmp_path: Path
) -> None:
    """As on a kernel without egress hooks."""
    web = network.container("web")
    before = web.dump()
    nft = tmp_path / "bin" / "nft"
    nft.parent.mkdir()
    nft.write_text("#!/bin/sh\necho 'internal:0:0-0: Error: Operation not supported' >&2; exit 1\n")
    nft.chmod(0o755)
    path = f"{nft.parent}:{os.environ['PATH']}"
    for command in ("check", "run"):
        refused = vmnet(web, command, VMNET_KEEP_PORTS="8006", PATH=path)
        assert refused.returncode, command
        assert "Operation not supported" in refused.stdout + refused.stderr
        assert "CONFIG_NETFILTER_EGRESS" in refused.stdout + refused.stderr
    require_same(before, web.dump())
