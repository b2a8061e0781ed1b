"""Ports of the guest's addresses that the container keeps, seen from its network and beyond it."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from tests.lab.net.frames import heard, send, waiting
from tests.lab.net.lan import WORLD, Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import web_server
from tests.lab.net.snapshot import require_same
from tests.lab.net.tap_guest import behind_tap
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet, hypervisor
from vmnet.net import ndp, packets
from vmnet.net.namespace_record import TABLE
from vmnet.net.packets import mac_bytes

KEPT, GUESTS = 8006, 80
ECHO = """
import socket, sys
service = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
service.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
service.bind(("::", int(sys.argv[1])))
while True:
    size, peer = service.recvfrom(65536)
    service.sendto(bytes(int(size)), peer)
"""
ASK = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
client = socket.socket(family, socket.SOCK_DGRAM)
client.settimeout(1)
client.connect((sys.argv[1], int(sys.argv[2])))
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        client.send(sys.argv[3].encode().ljust(int(sys.argv[4])))
        print(len(client.recv(65536)))
        break
    except OSError:  # the service has not started yet
        time.sleep(0.05)
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
for _ in range(600):
    try:
        server = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
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
            # A router advertisement may have come first, or may come later.
            vm.sysctl(net__ipv6__conf__eth0__accept_ra=0)
            vm.ip("-6", "route", "replace", "default", "via", "fd00:30:1::1")
        with web_server(vm, "guest", GUESTS), web_server(vm, "guest", KEPT):
            yield vm


def page(where: Namespace, address: str, port: int, seconds: int = 60) -> str:
    """Return the page at an address; empty if there is no answer in *seconds*."""
    host = f"[{address}]" if ":" in address else address
    asked = ("curl", "-sS", "-g", "--noproxy", "*", "-m", str(seconds))
    return where.run(*asked, f"http://{host}:{port}/", timeout=WAIT, check=False).stdout


def is_silent(where: Namespace, address: str, port: int) -> bool:
    return not page(where, address, port, seconds=3)


def tables(container: Namespace) -> str:
    """Return the container's tables of nftables."""
    return container.run("nft", "list", "tables").stdout


def filtering(container: Namespace) -> str:
    """Return the tables without the copy of the saved state, which exists while a VM runs."""
    return tables(container).replace(f"table ip {TABLE}\n", "")


def test_kept_ports_end_in_the_container_and_all_others_in_the_guest(
    network: Lan, vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    """The host filters the sources of its ARP requests strictly, as many distributions do."""
    for device in ("all", network.bridge):
        network.host.sysctl(**{f"net__ipv4__conf__{device}__rp_filter": 1})
    station, world = network.station(ipv6=True), network.world()
    with (
        vmnet.running(web, VMNET_KEEP_PORTS=f"{KEPT},9000-9100,161/udp", **chosen),
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
    network: Lan, vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    """The kept ports' route is there before the container takes a spare address, and afterwards."""
    device = "br0" if chosen.get("VMNET_BRIDGE") == "bridge" else "out0"
    (web.etc / "resolv.conf").write_text("nameserver 127.0.0.11\n")
    world = network.world()
    with (
        vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT), **chosen) as process,
        web_server(web, "container", KEPT),
    ):
        log, said = process.output, f"{device} now has the address "
        until(lambda: said in log(), WAIT, "the address", detail=log)
        assert page(world, web.address, KEPT) == "container"
        web.run("ping", "-c1", "-W5", WORLD)  # like an engine that queries upstream servers
        spare = log().partition(said)[2].split()[0]
        other = network.container("other", address=spare)
        other.run("ping", "-c1", "-W5", network.gateway)  # sends ARP from its address
        until(lambda: f"{device} gives it up" in log(), WAIT, "the loss", detail=log)
        assert page(world, web.address, KEPT) == "container"


def test_a_kept_port_is_there_before_the_guest(
    network: Lan, vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    """The container answers for the guest's addresses in the guest's place, once for each request:
    ARP, solicitations by multicast and unicast, and those to detect duplicates.
    """
    world, station = network.world(), network.station(ipv6=True)
    own = web.address, str(web.nic().address6)

    def require_single_answers() -> None:
        asked = station.run("arping", "-c3", "-w9", "-I", "eth0", own[0]).stdout
        assert "Received 3 response(s)" in asked, asked
        assert web.mac in asked.lower()
        entry = (own[1], "dev", "eth0", "lladdr", web.mac, "nud", "permanent")
        station.ip("neighbour", "replace", *entry)  # so that its kernel sends no solicitation
        for frame in solicitations(station.mac, web.mac, own[1]):
            with heard(station) as card:
                send(station, frame)
                # A guest would have answered the solicitation before this.
                assert page(station, own[1], KEPT) == "container"
                answers = [each for each in waiting(card) if is_advertisement(each, own[1])]
                assert len(answers) == 1
                is_unicast = not frame[0] & 1
                assert is_unicast or answers[0][78:] == b"\x02\x01" + mac_bytes(web.mac)

    with (
        vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT), **chosen),
        web_server(web, "container", KEPT),
    ):
        for address in own:
            assert page(world, address, KEPT) == "container", address
        require_single_answers()
        with machine(web):
            station.ip("neighbour", "flush", "dev", "eth0", "nud", "all")
            for address in own:
                assert page(station, address, GUESTS) == "guest", address
            require_single_answers()


def solicitations(mac: str, asked: str, address: str) -> Iterator[bytes]:
    """Yield solicitations by multicast and by unicast, and for duplicate address detection.

    :param asked: the MAC for the unicast
    """
    question = ndp.who_has(IPv6Address(address), mac_bytes(mac))
    source, unset = packets.link_local(mac_bytes(mac)), bytes(16)
    header = mac_bytes(mac) + b"\x86\xdd"
    to, message = question.destination.packed, question.message
    yield question.mac + header + packets.icmp6(source, to, message)
    to_unicast = IPv6Address(address).packed
    yield mac_bytes(asked) + header + packets.icmp6(source, to_unicast, message)
    yield question.mac + header + packets.icmp6(unset, to, message[:-8])


def is_advertisement(frame: bytes, address: str) -> bool:
    is_answer = frame[12:14] == b"\x86\xdd" and frame[20] == packets.ICMPV6 and frame[54] == 136
    return is_answer and frame[62:78] == IPv6Address(address).packed


@pytest.mark.parametrize("resolver", ["nameserver 127.0.0.11\n", "nameserver 172.30.1.1\n"])
def test_datagrams(
    network: Lan, vmnet: Vmnet, resolver: str, kind: str, chosen: dict[str, str]
) -> None:
    """A service that is bound to no address answers from the guest's address, whatever the bridge's
    first address is. Datagrams larger than the MTU arrive whole, in the container and the guest.
    """
    web = network.container("web", ipv6=True, resolv_conf=resolver, kind=kind)
    web.sysctl(net__ipv6__conf__default__disable_ipv6=0)
    world, station = network.world(), network.station(ipv6=True)
    with (
        vmnet.running(web, VMNET_KEEP_PORTS="161/udp", **chosen),
        machine(web) as vm,
        web.popen(sys.executable, "-c", ECHO, "161"),
        vm.popen(sys.executable, "-c", ECHO, "162"),
    ):
        for where, own, port in itertools.product(
            (world, station), (web.address, str(web.nic().address6)), ("161", "162")
        ):
            for size, asked in ((10, 2), (9000, 4000)):
                ask = (sys.executable, "-c", ASK, own, port, str(size), str(asked))
                answer = where.run(*ask, timeout=WAIT)
                assert answer.stdout == f"{size}\n", (where.label, own, port, size)


def test_large_answers_and_requests(
    network: Lan, vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    """With offloads, a packet is larger than the MTU. Beyond the gateway, the MTU is smaller; the
    gateway's messages about this reach the guest.
    """
    station, world = network.station(ipv6=True), network.world()
    small = ("dev", "world0", "mtu", "lock", "1280")
    network.host.ip("route", "replace", "198.51.100.0/24", *small)
    network.host.ip("route", "replace", "2001:db8:51::/64", *small, "metric", "256")
    sink = web.popen(sys.executable, "-c", TRANSFER, str(KEPT))
    with vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT), **chosen), machine(web), sink:
        for where in (station, world):
            for own in (web.address, str(web.nic().address6)):
                done = where.run(sys.executable, "-c", FETCH, own, str(KEPT), timeout=WAIT)
                assert done.stdout == f"{8 << 20}\n", (where.label, own)


def test_each_address_has_its_kept_ports(
    network: Lan, vmnet: Vmnet, kind: str, chosen: dict[str, str]
) -> None:
    web = network.container("web", extra=("172.30.1.77/24",), kind=kind)
    station = network.station()
    with (
        vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT), **chosen),
        web_server(web, "container", KEPT),
    ):
        assert page(station, web.address, KEPT) == "container"
        assert page(station, "172.30.1.77", KEPT) == "container"


def test_the_guest_does_not_reach_the_containers_services(
    network: Lan, vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    """The bridge's IPv6 address is on the guest's link."""
    with (
        vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT), **chosen),
        machine(web) as vm,
        web_server(web, "container", KEPT),
        web_server(network.host, "host", KEPT),
    ):
        ends = ("br0",) if chosen.get("VMNET_BRIDGE") == "bridge" else ("tap0", "eth0")
        own = [address["local"] for device in ends for address in web.addresses(device)]
        assert {":" in address for address in own} == {False, True}
        for address in own:
            assert is_silent(vm, f"{address}%25eth0" if ":" in address else address, KEPT)
        assert page(vm, network.gateway, KEPT) == "host"


@pytest.mark.parametrize("resolver", ["nameserver 127.0.0.11\n", "nameserver 172.30.1.1\n"])
def test_the_network_is_put_back(
    network: Lan, vmnet: Vmnet, resolver: str, kind: str, chosen: dict[str, str]
) -> None:
    web = network.container("web", ipv6=True, resolv_conf=resolver, kind=kind)
    web.sysctl(net__ipv6__conf__default__disable_ipv6=0)
    before, rules = web.dump(), web.ip("rule").stdout
    failed = vmnet(web, "run", VMNET_KEEP_PORTS=str(KEPT), VMNET_QEMU="/nonexistent", **chosen)
    assert failed.returncode
    require_same(before, web.dump())
    assert tables(web) == ""
    with vmnet.running(web, VMNET_KEEP_PORTS=str(KEPT), **chosen):
        assert filtering(web) == "table netdev vmnet-eth0\n"
    again = vmnet(web, "run", VMNET_QEMU="/nonexistent")
    assert again.returncode
    require_same(before, web.dump())
    assert tables(web) == ""
    assert web.ip("rule").stdout == rules


def test_a_start_says_what_kept_ports_lack(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    plan = vmnet(web, "plan", VMNET_KEEP_PORTS="8006")
    assert plan.returncode == 0
    assert "over IPv4 only" in plan.stderr
    outside = vmnet(web, "run", VMNET_KEEP_PORTS="8006", NO_DHCP="true")
    assert outside.returncode == 10
    assert "VMNET_KEEP_PORTS=8006: vmnet must know the guest's addresses" in outside.stderr
    metrics = vmnet(web, "plan", VMNET_METRICS="9100", NO_DHCP="true")
    assert "VMNET_METRICS=9100: vmnet must know the guest's addresses" in metrics.stderr
    assert "VMNET_KEEP_PORTS" not in metrics.stderr
    wrong = vmnet(web, "plan", VMNET_METRICS="192.0.2.1:9100")
    assert wrong.returncode == 10
    assert "192.0.2.1:9100 is not an address" in wrong.stderr
    assert "the container keeps" not in wrong.stderr


def test_kept_ports_and_localhost_are_shown(
    network: Lan, vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    settings = {"VMNET_KEEP_PORTS": "8006,161/udp", "VMNET_LOCALHOST": "on", **chosen}
    kept = "the container keeps 8006/tcp, 161/udp: the guest can't serve these ports"
    localhost = "127.0.0.1 and ::1 in the container: the guest, where nothing in the container"
    for command in ("plan", "check"):
        shown = vmnet(web, command, **settings).stdout
        assert (command, kept in shown, localhost in shown) == (command, True, True), shown
    with vmnet.running(web, **settings) as process:
        said = process.output()
        assert (said.count(kept), said.count(localhost)) == (1, 1), said


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
