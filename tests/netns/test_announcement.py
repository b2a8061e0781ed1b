"""What neighbours see of the guest: its announcements, and one answer to each question."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.command import Process, run
from tests.lab.net.frames import heard, waiting
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.stream_guest import behind_stream
from tests.lab.net.tap_guest import behind_tap
from tests.lab.wait import WAIT, until
from tests.netns import test_hotplug as hotplug
from tests.netns import test_passt
from tests.netns.conftest import Vmnet, hypervisor
from vmnet.net.packets import mac_bytes

STRATEGIES = [("bridge", "veth"), ("redirect", "veth"), ("redirect", "macvlan")]
_SOLICITATION, _ADVERTISEMENT, _SOLICITED = 135, 136, 1 << 30


@pytest.mark.parametrize(("strategy", "kind"), STRATEGIES)
def test_neighbours_learn_the_guests_place_before_it_sends(
    network: Lan, vmnet: Vmnet, strategy: str, kind: str
) -> None:
    web = network.container("web", ipv6=True, kind=kind)
    station = network.station(ipv6=True)
    wanted = {IPv4Address(web.address), IPv6Address(str(web.nic().address6))}
    found: set[object] = set()
    with heard(station) as card, vmnet.running(web, VMNET_BRIDGE=strategy) as process:

        def is_announced() -> bool:
            for frame in waiting(card):
                if frame[6:12] == mac_bytes(web.mac):
                    found.add(announced(frame))
            return wanted <= found

        until(is_announced, WAIT, "the announcements", detail=process.output)
        if kind == "veth":
            learned = run("bridge", "-n", network.host.name, "fdb", "show", "br", network.bridge)
            assert f"{web.mac} dev {web.nic().port} " in learned.stdout


def test_neighbours_learn_the_place_of_a_nic_that_is_added_or_replaced(
    network: Lan, vmnet: Vmnet
) -> None:
    """The switch learns the guest's MAC at its new port."""
    with lan(2, host=network.host) as second:
        web, stations = network.container("web"), (network.station(), second.station())
        first = web.nic()
        with hotplug.running(vmnet, web) as (process, _), heard(stations[1]) as card:
            late = second.attach(web, "eth1", gateway=False)
            _await(card, late.mac, late.address, process)
            with heard(stations[0]) as other:
                network.host.ip("link", "delete", first.port)
                gone = "eth0 is gone, and the VM is off its network"
                until(lambda: gone in process.output(), WAIT, "the NIC to go")
                again = network.attach(web, "eth0", address=first.address, mac="02:42:00:00:00:07")
                _await(other, first.mac, first.address, process)
                learned = run("bridge", "-n", network.host.name, "fdb", "show")
                assert f"{first.mac} dev {again.port} " in learned.stdout


def _await(card: socket.socket, mac: str, address: str, process: Process) -> None:
    def is_announced() -> bool:
        sent = [frame for frame in waiting(card) if frame[6:12] == mac_bytes(mac)]
        return IPv4Address(address) in map(announced, sent)

    until(is_announced, WAIT, f"an announcement of {address}", detail=process.output)


@pytest.mark.parametrize(("strategy", "kind"), STRATEGIES)
def test_a_question_gets_exactly_one_answer(
    network: Lan, vmnet: Vmnet, strategy: str, kind: str
) -> None:
    """The guest answers for itself. Neither the bridge nor the uplink answers as well."""
    web = network.container("web", ipv6=True, kind=kind, resolv_conf="nameserver 127.0.0.11\n")
    station = network.station(ipv6=True)
    with vmnet.running(web, VMNET_BRIDGE=strategy), behind_tap(hypervisor(web), web.mac) as vm:
        _require_one_answer(station, web, vm)


def test_passt_leaves_the_answers_and_the_place_to_the_container(
    network: Lan, vmnet: Vmnet
) -> None:
    """Nothing is announced, because neither the MAC nor its port at the switch has changed."""
    web, station = network.container("web", ipv6=True), network.station(ipv6=True)
    socket = vmnet.run_dir / "passt" / "passt.sock"
    # Until the first answer: the kernel drops frames until it has noticed the new NIC's carrier.
    station.run("arping", "-f", "-w30", "-I", "eth0", web.address)
    before = _place(network, web)
    with test_passt.running(web, vmnet), behind_stream(web, socket) as vm:
        _require_one_answer(station, web, vm)
        assert _place(network, web) == before == web.nic().port


def _place(network: Lan, web: Namespace) -> str:
    """Return the port of the switch at which it has learned the container's MAC."""
    learned = run("bridge", "-n", network.host.name, "fdb", "show", "br", network.bridge).stdout
    (port,) = {line.split()[2] for line in learned.splitlines() if line.startswith(web.mac)}
    return port


def _require_one_answer(station: Namespace, web: Namespace, vm: Namespace) -> None:
    udhcpc(vm).configure(vm)
    address6 = str(web.nic().address6)
    vm.ip("address", "add", f"{address6}/64", "dev", "eth0", "nodad")
    with heard(station, sent=True) as card:
        station.run("arping", "-c3", "-w30", "-I", "eth0", web.address)
        for _ in range(3):
            station.ip("neighbour", "flush", "dev", "eth0")
            station.run("ping", "-6", "-c1", "-W5", address6)
        frames = waiting(card)
    replies = [frame for frame in frames if _is_reply(frame, web)]
    advertisements = [frame for frame in frames if _is_advertisement(frame, address6)]
    # On a busy machine, an answer may come so late that the question is repeated.
    own = mac_bytes(station.mac)
    asked = [_question(frame) for frame in frames if frame[6:12] == own]
    assert len(replies) == asked.count(IPv4Address(web.address)) >= 3
    assert len(advertisements) == asked.count(IPv6Address(address6)) >= 3
    assert {frame[6:12] for frame in (*replies, *advertisements)} == {mac_bytes(web.mac)}


def announced(frame: bytes) -> IPv4Address | IPv6Address | None:
    """Return the address that a frame announces to all hosts."""
    if frame[12:14] == b"\x08\x06" and frame[28:32] == frame[38:42]:
        return IPv4Address(frame[28:32])
    if frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == _ADVERTISEMENT:
        return IPv6Address(frame[62:78]) if frame[22:38] == frame[62:78] else None
    return None


def _question(frame: bytes) -> IPv4Address | IPv6Address | None:
    """Return the address whose MAC a frame asks for."""
    if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1":
        return IPv4Address(frame[38:42])
    if frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == _SOLICITATION:
        return IPv6Address(frame[62:78])
    return None


def _is_reply(frame: bytes, web: Namespace) -> bool:
    own = IPv4Address(web.address).packed
    return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[28:32] == own


def _is_advertisement(frame: bytes, address: str) -> bool:
    if frame[12:14] != b"\x86\xdd" or frame[20] != 58 or frame[54] != _ADVERTISEMENT:
        return False
    (flags,) = struct.unpack_from("!I", frame, 58)
    return bool(flags & _SOLICITED) and frame[62:78] == IPv6Address(address).packed
