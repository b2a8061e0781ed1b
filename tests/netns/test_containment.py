"""Machines on the same network keep their DHCP and their addresses separate."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ipaddress import IPv4Interface, IPv6Address

import pytest

from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.clients.dhcp6 import dhclient6
from tests.lab.net.bridge_guest import guest
from tests.lab.net.frames import heard, waiting
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import dnsmasq
from tests.lab.wait import WAIT, TimedOutError, until
from tests.netns.conftest import Vmnet, bridge_address
from vmnet.net.packets import mac_bytes

ON_LOOPBACK = "nameserver 127.0.0.11\n"
_STRANGER = bytes.fromhex("0242ac1e0163")
_BROADCAST = b"\xff" * 6
_LINK_LOCAL = IPv6Address("fe80::99").packed
_ALL_NODES = IPv6Address("ff02::1").packed


def test_no_request_leaves(network: Lan, vmnet: Vmnet) -> None:
    """The guest asks from a MAC that vmnet does not serve, while a neighbour listens."""
    web = network.container("web", ipv6=True)
    neighbour = network.station(ipv6=True)
    mac = "02:42:00:00:00:99"
    with vmnet.running(web), heard(neighbour, sent=True) as frames, guest(web, "br0", mac) as vm:
        vm.run("udhcpc", "-n", "-q", "-t2", "-T1", "-i", "eth0", "-s", "/bin/true", check=False)
        with pytest.raises(TimedOutError):
            dhclient6(vm, timeout=4)
        found = _until_its_arp(vm, mac, frames)
    own = mac_bytes(neighbour.mac)
    assert not [frame for frame in found if _kind(frame) in _CONTAINED and frame[6:12] != own]


def test_no_answer_enters(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    neighbour = network.station(ipv6=True)
    with vmnet.running(web), guest(web, "br0", web.mac) as vm, heard(vm, sent=True) as frames:
        with neighbour.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
            card.bind(("eth0", 0))
            for frame in _answers():
                assert _kind(frame) in _CONTAINED
                card.send(frame)
        found = _until_its_arp(neighbour, neighbour.mac, frames)
    assert not [frame for frame in found if frame[6:12] == _STRANGER]


def test_two_machines_and_a_foreign_server(
    network: Lan, vmnet: Vmnet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, second = network.container("first"), network.container("second")
    other = str(tmp_path_factory.mktemp("other") / "run")
    offers = ("--dhcp-range=172.30.1.100,172.30.1.110,1h", f"--interface={network.bridge}")
    with (
        dnsmasq(network.host, *offers, "--no-ping", port=0) as foreign,
        vmnet.running(first),
        vmnet.running(second, VMNET_RUN_DIR=other),
        guest(first, "br0", first.mac) as first_vm,
        guest(second, "br0", second.mac) as second_vm,
    ):
        for vm, container in ((first_vm, first), (second_vm, second)):
            lease = udhcpc(vm)
            lease.configure(vm)
            assert (str(lease.address.ip), lease.hostname) == (
                container.address,
                container.hostname,
            )
        first_vm.run("ping", "-c1", "-W5", second.address)
        assert "DHCPDISCOVER" not in foreign.output()
        stranger = network.station("stranger")
        assert str(udhcpc(stranger).address.ip).startswith("172.30.1.1")
        assert "DHCPDISCOVER" in foreign.output()


def test_the_bridge_never_answers_for_the_guest(network: Lan, vmnet: Vmnet) -> None:
    """The guest is silent; the bridge answers only for its own address in the same subnet."""
    web = network.container("web", ipv6=True, resolv_conf=ON_LOOPBACK)
    station = network.station(ipv6=True)
    with vmnet.running(web):
        own = bridge_address(web)
        assert own in IPv4Interface(f"{web.address}/24").network
        station.run("arping", "-f", "-w30", "-I", "eth0", str(own.ip))
        assert not _answers_arp(station, web.address)
        station.run("ping", "-6", "-c1", "-W2", str(web.nic().address6), check=False)
        (asked,) = station.ip("-j", "-6", "neighbour", "show", str(web.nic().address6)).json()
    assert asked["state"] in (["FAILED"], ["INCOMPLETE"])


def test_a_neighbours_address_is_never_spare(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", resolv_conf=ON_LOOPBACK)
    with vmnet.running(web):
        favourite = bridge_address(web)
    assert vmnet(web, "run", VMNET_QEMU="/nonexistent").returncode
    station = network.station()
    station.ip("address", "add", str(favourite), "dev", "eth0")
    with vmnet.running(web):
        assert bridge_address(web) != favourite


def test_machines_that_start_together_take_different_addresses(
    network: Lan, vmnet: Vmnet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The services of a Compose project start like this: all probe at the same time."""
    folder = tmp_path_factory.mktemp("crowd")
    crowd = [network.container(f"web{n}", resolv_conf=ON_LOOPBACK) for n in range(5)]

    def start(container: Namespace) -> None:
        stack.enter_context(vmnet.running(container, VMNET_RUN_DIR=str(folder / container.label)))

    with ExitStack() as stack, ThreadPoolExecutor(len(crowd)) as pool:
        list(pool.map(start, crowd))
        addresses = {bridge_address(container) for container in crowd}
    assert len(addresses) == len(crowd)
    assert {str(address.network) for address in addresses} == {str(network.network)}


def test_the_bridges_address_is_announced(network: Lan, vmnet: Vmnet) -> None:
    """RFC 5227 section 2.3: neighbours replace an old entry for this address."""
    web = network.container("web", resolv_conf=ON_LOOPBACK)
    neighbour = network.station()
    with heard(neighbour, sent=True) as frames, vmnet.running(web):
        own = bridge_address(web).ip.packed

        def announced() -> bool:
            return any(
                _kind(frame) == "ARP" and frame[28:32] == frame[38:42] == own
                for frame in waiting(frames)
            )

        until(announced, WAIT, "the announcement")


_CONTAINED = ("DHCP", "DHCPv6", "router")


def _kind(frame: bytes) -> str:
    """Return the kind of a frame, determined independently of vmnet's filter."""
    ethertype = frame[12:14]
    if ethertype == b"\x08\x06":
        return "ARP"
    if ethertype == b"\x08\x00" and frame[23] == 17:
        ports = frame[34:36], frame[36:38]
        return "DHCP" if {b"\0\x43", b"\0\x44"} & {*ports} else "UDP"
    if ethertype == b"\x86\xdd" and frame[20] == 17:
        ports = frame[54:56], frame[56:58]
        return "DHCPv6" if {b"\x02\x22", b"\x02\x23"} & {*ports} else "UDP"
    if ethertype == b"\x86\xdd" and frame[20] == 58:
        return "router" if frame[54] in (133, 134) else "ICMPv6"
    return "other"


def _answers() -> Iterator[bytes]:
    """Yield the headers of a DHCP offer, a DHCPv6 reply and a router advertisement to all hosts."""
    udp = b"\0\x43\0\x44" + (16).to_bytes(2, "big") + bytes(10)
    ipv4 = bytes.fromhex("45000024000000004011b0d1ac1e0163ffffffff")
    yield _BROADCAST + _STRANGER + b"\x08\0" + ipv4 + udp
    udp = b"\x02\x23\x02\x22" + (16).to_bytes(2, "big") + bytes(10)
    yield _ipv6(17, udp)
    yield _ipv6(58, b"\x86\0" + bytes(14))


def _ipv6(protocol: int, payload: bytes) -> bytes:
    head = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes((protocol, 255))
    return b"\x33\x33\0\0\0\1" + _STRANGER + b"\x86\xdd" + head + _LINK_LOCAL + _ALL_NODES + payload


def _until_its_arp(sender: Namespace, mac: str, frames: socket.socket) -> list[bytes]:
    """Return the frames up to an ARP request of the sender, which proves that frames arrive."""
    found: list[bytes] = []
    wanted = mac_bytes(mac)

    def has_arrived() -> bool:
        sender.run("arping", "-c1", "-w1", "-D", "-I", "eth0", "172.30.1.222", check=False)
        found.extend(waiting(frames))
        return any(_kind(frame) == "ARP" and frame[6:12] == wanted for frame in found)

    until(has_arrived, WAIT, "an ARP request to arrive")
    return found


def _answers_arp(station: Namespace, address: str) -> bool:
    asked = station.run("arping", "-c2", "-w2", "-I", "eth0", address, check=False)
    return asked.returncode == 0
