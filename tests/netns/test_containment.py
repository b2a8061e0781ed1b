"""Two machines on one layer 2 keep their DHCP and their addresses to themselves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Interface, IPv6Address
from pathlib import Path

import pytest

from tests.lab.dhcp6_clients import dhclient6
from tests.lab.dhcp_clients import udhcpc
from tests.lab.guest import guest
from tests.lab.namespace import Namespace
from tests.lab.netns import Lan
from tests.lab.services import dnsmasq
from tests.lab.wait import TimedOutError, until
from tests.netns.conftest import Vmnet

ON_LOOPBACK = "nameserver 127.0.0.11\n"
_STRANGER = bytes.fromhex("0242ac1e0163")
_BROADCAST = b"\xff" * 6
_LINK_LOCAL = IPv6Address("fe80::99").packed
_ALL_NODES = IPv6Address("ff02::1").packed


def test_no_request_leaves(network: Lan, vmnet: Vmnet) -> None:
    """Not even those that nobody answers: the guest asks under a MAC that is not the container's,
    while a neighbour listens.
    """
    web = network.container("web", ipv6=True)
    neighbour = network.station(ipv6=True)
    mac = "02:42:00:00:00:99"
    with vmnet.running(web), heard(neighbour) as frames, guest(web, "br0", mac) as vm:
        vm.run("udhcpc", "-n", "-q", "-t2", "-T1", "-i", "eth0", "-s", "/bin/true", check=False)
        with pytest.raises(TimedOutError):
            dhclient6(vm, timeout=4)
        found = _until_its_arp(vm, mac, frames)
    own = _bytes(neighbour.mac)
    assert not [one for one in found if _kind(one) in _CONTAINED and one[6:12] != own]


def test_no_answer_enters(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    neighbour = network.station(ipv6=True)
    with vmnet.running(web), guest(web, "br0", web.mac) as vm, heard(vm) as frames:
        with neighbour.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
            card.bind(("eth0", 0))
            for frame in _answers():
                assert _kind(frame) in _CONTAINED
                card.send(frame)
        found = _until_its_arp(neighbour, neighbour.mac, frames)
    assert not [one for one in found if one[6:12] == _STRANGER]


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
        guest(first, "br0", first.mac) as one,
        guest(second, "br0", second.mac) as two,
    ):
        for vm, container in ((one, first), (two, second)):
            lease = udhcpc(vm)
            lease.configure(vm)
            assert (str(lease.address.ip), lease.hostname) == (
                container.address,
                container.hostname,
            )
        one.run("ping", "-c1", "-W5", second.address)
        assert "DHCPDISCOVER" not in foreign.output()
        stranger = network.station("stranger")
        assert str(udhcpc(stranger).address.ip).startswith("172.30.1.1")
        assert "DHCPDISCOVER" in foreign.output()


def test_the_bridge_never_answers_for_the_guest(network: Lan, vmnet: Vmnet) -> None:
    """While the guest is silent: the bridge has an address of the same subnet, and answers for
    that one alone.
    """
    web = network.container("web", ipv6=True, resolv_conf=ON_LOOPBACK)
    station = network.station(ipv6=True)
    with vmnet.running(web):
        own = _bridge_address(web)
        assert own in IPv4Interface(f"{web.address}/24").network
        assert _answers_arp(station, str(own.ip))
        assert not _answers_arp(station, web.address)
        station.run("ping", "-6", "-c1", "-W2", str(web.nic().address6), check=False)
        (asked,) = station.ip("-j", "-6", "neighbour", "show", str(web.nic().address6)).json()
    assert asked["state"] in (["FAILED"], ["INCOMPLETE"])


def test_a_neighbours_address_is_never_spare(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", resolv_conf=ON_LOOPBACK)
    with vmnet.running(web):
        favourite = _bridge_address(web)
    assert vmnet(web, "run", VMNET_QEMU="/nonexistent").returncode
    station = network.station()
    station.ip("address", "add", str(favourite), "dev", "eth0")
    with vmnet.running(web):
        assert _bridge_address(web) != favourite


def test_machines_that_start_together_take_different_addresses(
    network: Lan, vmnet: Vmnet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As the services of one project do: each probes while the others do."""
    folder = tmp_path_factory.mktemp("crowd")
    crowd = [network.container(f"web{n}", resolv_conf=ON_LOOPBACK) for n in range(5)]

    def start(container: Namespace) -> None:
        stack.enter_context(vmnet.running(container, VMNET_RUN_DIR=str(folder / container.label)))

    with ExitStack() as stack, ThreadPoolExecutor(len(crowd)) as pool:
        list(pool.map(start, crowd))
        addresses = {_bridge_address(one) for one in crowd}
    assert len(addresses) == len(crowd)
    assert {str(one.network) for one in addresses} == {str(network.network)}


def test_the_bridges_address_is_announced(network: Lan, vmnet: Vmnet) -> None:
    """RFC 5227 section 2.3: neighbours forget who had it before."""
    web = network.container("web", resolv_conf=ON_LOOPBACK)
    neighbour = network.station()
    with heard(neighbour) as frames, vmnet.running(web):
        own = _bridge_address(web).ip.packed

        def announced() -> bool:
            found = _drain(frames)
            return any(_kind(one) == "ARP" and one[28:32] == one[38:42] == own for one in found)

        until(announced, 5, "the announcement")


_CONTAINED = ("DHCP", "DHCPv6", "router")


def _kind(frame: bytes) -> str:
    """What vmnet keeps apart, told without its own filter."""
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
    """To everybody, as to their headers: a DHCP offer, a DHCPv6 reply, a router advertisement."""
    udp = b"\0\x43\0\x44" + (16).to_bytes(2, "big") + bytes(10)
    ipv4 = bytes.fromhex("45000024000000004011b0d1ac1e0163ffffffff")
    yield _BROADCAST + _STRANGER + b"\x08\0" + ipv4 + udp
    udp = b"\x02\x23\x02\x22" + (16).to_bytes(2, "big") + bytes(10)
    yield _ipv6(17, udp)
    yield _ipv6(58, b"\x86\0" + bytes(14))


def _ipv6(protocol: int, payload: bytes) -> bytes:
    head = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes((protocol, 255))
    return b"\x33\x33\0\0\0\1" + _STRANGER + b"\x86\xdd" + head + _LINK_LOCAL + _ALL_NODES + payload


@contextmanager
def heard(where: Namespace) -> Iterator[socket.socket]:
    """A socket that has every frame which arrives at, or leaves, a namespace's eth0 from now on."""
    with where.entered():
        card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
    with card:
        card.bind(("eth0", 3))
        card.setblocking(False)
        yield card


def _until_its_arp(sender: Namespace, mac: str, frames: socket.socket) -> list[bytes]:
    """All that was heard up to an ARP request of *sender*, which shows that frames get through."""
    found: list[bytes] = []
    wanted = _bytes(mac)

    def has_come() -> bool:
        sender.run("arping", "-c1", "-w1", "-D", "-I", "eth0", "172.30.1.222", check=False)
        found.extend(_drain(frames))
        return any(_kind(one) == "ARP" and one[6:12] == wanted for one in found)

    until(has_come, 15, "an ARP request to come through")
    return found


def _drain(frames: socket.socket) -> list[bytes]:
    found = []
    try:
        while True:
            found.append(frames.recv(2048))
    except BlockingIOError:
        return found


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _answers_arp(station: Namespace, address: str) -> bool:
    asked = station.run("arping", "-c2", "-w2", "-I", "eth0", address, check=False)
    return asked.returncode == 0


def _capabilities(container: Namespace) -> dict[str, int]:
    """The responder's, effective and permitted."""
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in container.pids()]
    (status,) = (one for one in texts if one.startswith("Name:\tvmnet-responder\n"))
    sets = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    return {one: int(sets[one], 16) for one in ("CapEff", "CapPrm")}


def _bridge_address(container: Namespace) -> IPv4Interface:
    """The first of one or two."""
    own, *_ = (one for one in container.addresses("br0") if one["family"] == "inet")
    return IPv4Interface(f"{own['local']}/{own['prefixlen']}")
