"""Frames from a hostile guest, a hostile neighbour, and a switch that reflects frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest

from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.command import run
from tests.lab.net.frames import forged, heard, send, until_seen, waiting
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace, namespace
from tests.lab.net.services import dnsmasq, web_server
from tests.lab.net.snapshot import Json
from tests.lab.net.tap_guest import behind_tap
from tests.netns.conftest import Vmnet, bridge_address, hypervisor
from tests.unit import frames
from vmnet.net.packets import mac_bytes

_TIMED_OUT = 28  # curl's exit status
STRATEGIES = pytest.mark.parametrize("strategy", ["bridge", "redirect"])
ON_LOOPBACK = "nameserver 127.0.0.11\n"
ENGINE = ("--listen-address=127.0.0.11", "--bind-interfaces", "--address=/db.test/192.0.2.7")


@contextmanager
def guest(container: Namespace, nic: str = "eth0") -> Iterator[Namespace]:
    """The guest, with the lease that it requested."""
    number = int(nic.removeprefix("eth"))
    with behind_tap(hypervisor(container), container.nic(nic).mac, tap=100 + number) as vm:
        udhcpc(vm).configure(vm)
        yield vm


def forwarding_database(container: Namespace) -> list[Json]:
    found: list[Json] = run("bridge", "-j", "-n", container.name, "fdb", "show", "br", "br0").json()
    return found


@pytest.mark.parametrize(
    ("strategy", "filtered"), [("bridge", "on"), ("bridge", "off"), ("redirect", "on")]
)
def test_a_port_that_reflects_frames(
    network: Lan, vmnet: Vmnet, strategy: str, filtered: str
) -> None:
    """Kubernetes' bridge (hairpinMode) and Docker without a userland proxy reflect frames."""
    web = network.container("web", ipv6=True)
    port = web.nic().port
    run("bridge", "-n", network.host.name, "link", "set", "dev", port, "hairpin", "on")
    settings = {"VMNET_BRIDGE": strategy, "VMNET_FILTER": filtered}
    with vmnet.running(web, **settings), guest(web) as vm:
        for _ in range(3):
            vm.ip("neighbour", "flush", "dev", "eth0")
            vm.run("ping", "-c1", "-W5", network.gateway)
        with heard(vm) as card:
            vm.run("arping", "-D", "-c1", "-w1", "-I", "eth0", web.address, check=False)
            vm.sysctl(net__ipv6__conf__eth0__accept_dad=1, net__ipv6__conf__eth0__enhanced_dad=0)
            vm.ip("address", "add", f"{web.nic().address6}/64", "dev", "eth0")
            vm.dump()  # waits for the end of duplicate address detection
            (own,) = (
                address
                for address in vm.addresses("eth0")
                if address["local"] == web.nic().address6
            )
            last = forged(network.host.link(network.bridge)["address"])  # type: ignore[index]
            send(network.host, last, by=network.bridge)
            found = until_seen(card, last)
        assert "dadfailed" not in own
        assert not [frame for frame in found if frame[6:12] == mac_bytes(web.mac)]


def test_a_reflecting_port_and_a_dhcp_server_on_the_network(network: Lan, vmnet: Vmnet) -> None:
    """vmnet does not know the guest's addresses, but it knows the guest's MAC."""
    web = network.container("web")
    port = web.nic().port
    run("bridge", "-n", network.host.name, "link", "set", "dev", port, "hairpin", "on")
    offers = ("--dhcp-range=172.30.1.100,172.30.1.110,1h", f"--interface={network.bridge}")
    with (
        dnsmasq(network.host, *offers, "--no-ping", port=0),
        vmnet.running(web, NO_DHCP="true"),
        guest(web) as vm,
    ):
        (own,) = (
            address["local"] for address in vm.addresses("eth0") if address["family"] == "inet"
        )
        assert own.startswith("172.30.1.1")
        vm.ip("neighbour", "flush", "dev", "eth0")
        vm.run("ping", "-c1", "-W5", network.gateway)
        assert not web.ip("-j", "neighbour", "show", "nud", "permanent").json()


@pytest.mark.parametrize("filtered", ["on", "off"])
def test_a_frame_with_the_guests_mac_from_the_network(
    network: Lan, vmnet: Vmnet, filtered: str
) -> None:
    """The bridge does not move the MAC of a silent guest to another port.

    The switch itself sends the frames. From a station's frames, it would learn the guest's MAC at
    the station's port.
    """
    web = network.container("web")
    with vmnet.running(web, VMNET_FILTER=filtered), guest(web) as vm:
        (entry,) = (entry for entry in forwarding_database(web) if entry["mac"] == web.mac)
        assert (entry["ifname"], entry["state"]) == ("tap0", "static")
        with heard(vm) as card:
            last = mac_bytes(web.mac) + forged("02:42:00:00:00:98")[6:]
            send(network.host, forged(web.mac), last, by=network.bridge)
            assert not [frame for frame in until_seen(card, last) if frame[6:12] == last[:6]]
        assert entry in forwarding_database(web)
        web.ip("link", "set", "tap0", "down")
        web.ip("link", "set", "tap0", "up")
        assert entry in forwarding_database(web)


def test_a_guest_receives_no_frames_for_other_machines(network: Lan, vmnet: Vmnet) -> None:
    """Neither unknown unicast from the network nor frames from the container to a station."""
    web, station = network.container("web", resolv_conf=ON_LOOPBACK), network.station()
    with vmnet.running(web), guest(web) as vm, heard(vm) as card:
        bridge_address(web)
        send(station, mac_bytes("02:42:00:00:00:77") + forged(station.mac)[6:])
        web.run("ping", "-c1", "-W5", station.address)
        last = forged(station.mac, b"last")
        send(station, last)
        unicast = {frame[:6] for frame in until_seen(card, last) if not frame[0] & 1}
    assert unicast <= {mac_bytes(web.mac)}


def test_several_machines_behind_one_tap(network: Lan, vmnet: Vmnet) -> None:
    """With VMNET_FILTER=off, the network reaches them, and they reach a MAC that has moved away.

    The virtual MAC of VRRP (RFC 5798 section 7.3) moves like this when another router takes over.
    """
    web, station = network.container("web"), network.station()
    with vmnet.running(web, VMNET_FILTER="off"), guest(web) as vm, namespace("inner") as inner:
        second = ("name", "eth0", "type", "macvlan", "mode", "bridge")
        vm.ip("link", "add", "link", "eth0", "netns", inner.name, *second)
        inner.ip("link", "set", "eth0", "up")
        inner.ip("address", "add", "172.30.1.77/24", "dev", "eth0")
        mac = inner.link("eth0")["address"]  # type: ignore[index]
        station.run("ping", "-c1", "-W5", "172.30.1.77")
        inner.ip("link", "delete", "eth0")
        moved = network.station("moved")
        moved.ip("link", "set", "eth0", "down", "address", mac)
        moved.ip("link", "set", "eth0", "up")
        moved.await_carriers("eth0")
        network.host.await_carriers(moved.nic().port)
        vm.run("ping", "-c1", "-W5", moved.address)


# Protocols of a link by their EtherType and the last byte of their reserved multicast address.
_LINK_PROTOCOLS = {"LLDP": (0x88CC, 0x0E), "802.1X": (0x888E, 0x03), "LACP": (0x8809, 0x02)}


def reserved(mac: str, name: str) -> bytes:
    """Return a frame of a protocol whose multicast address bridges do not forward by default."""
    kind, last = _LINK_PROTOCOLS[name]
    frame = bytes((0x01, 0x80, 0xC2, 0, 0, last)) + mac_bytes(mac) + kind.to_bytes(2, "big")
    return frame + bytes(100)


@pytest.mark.parametrize("name", _LINK_PROTOCOLS)
@pytest.mark.parametrize(
    ("strategy", "filtered"), [("bridge", "on"), ("bridge", "off"), ("redirect", "on")]
)
def test_protocols_of_a_link_pass_both_ways(
    network: Lan, vmnet: Vmnet, strategy: str, filtered: str, name: str
) -> None:
    """The guest has a plain layer 2 port, like a switch port (IEEE 802.1Q table 8-1)."""
    web, switch = network.container("web"), network.host
    port, switch_mac = web.nic().port, "02:42:00:00:00:98"
    with (
        vmnet.running(web, NO_DHCP="true", VMNET_FILTER=filtered, VMNET_BRIDGE=strategy),
        behind_tap(hypervisor(web), web.mac) as vm,
        heard(vm) as guest_card,
        heard(switch, at=port) as switch_card,
    ):
        last = forged(switch_mac)
        send(switch, reserved(switch_mac, name), last, by=port)
        assert reserved(switch_mac, name) in until_seen(guest_card, last)
        last = forged(web.mac)
        send(vm, reserved(web.mac, name), last)
        assert reserved(web.mac, name) in until_seen(switch_card, last)


# Messages of routers and DHCP servers, also behind headers that could hide them from a filter.
_HIDDEN = [
    frames.ipv6(frames.LINK_LOCAL, kind, hidden)
    for payload, message in (
        (frames.ICMP6, frames.message(134)),
        (frames.ICMP6, frames.message(133)),
        (frames.UDP, frames.ports(547, 546)),
        (frames.UDP, frames.ports(546, 547)),
    )
    for kind, hidden in (
        (payload, message),
        (frames.HOP_BY_HOP, frames.extension(payload, message)),
        (frames.DESTINATION, frames.extension(payload, message)),
        (frames.FRAGMENT, frames.fragment(payload, message, more=False)),
        (frames.FRAGMENT, frames.fragment(payload, message)),
        (
            frames.FRAGMENT,
            frames.fragment(frames.DESTINATION, frames.extension(payload, message)[:8]),
        ),
        (
            frames.HOP_BY_HOP,
            frames.extension(frames.FRAGMENT, frames.fragment(payload, message)),
        ),
    )
]
_PRIORITY_TAG = bytes.fromhex("81000000")


def _from(mac: str, frame: bytes, tag: bytes = b"") -> bytes:
    return frame[:6] + mac_bytes(mac) + tag + frame[12:]


@STRATEGIES
def test_headers_and_tags_hide_no_message_that_enters(
    network: Lan, vmnet: Vmnet, strategy: str
) -> None:
    web, station = network.container("web", ipv6=True), network.station()
    hidden = [_from(station.mac, frame, tag) for frame in _HIDDEN for tag in (b"", _PRIORITY_TAG)]
    legitimate = [
        _from(station.mac, frames.ipv6(frames.OTHER6, kind, payload))
        for kind, payload in (
            (frames.HOP_BY_HOP, frames.listener_report()),
            (frames.DESTINATION, frames.extension(frames.TCP, frames.ports(1, 2))),
            (frames.FRAGMENT, frames.fragment(frames.UDP, frames.ports(1, 2))),
            (frames.FRAGMENT, frames.fragment(frames.UDP, frames.ports(1, 2), offset=9)),
        )
    ]
    with vmnet.running(web, VMNET_BRIDGE=strategy), guest(web) as vm, heard(vm) as card:
        last = forged(station.mac)
        send(station, *hidden, *legitimate, last)
        found = [frame for frame in until_seen(card, last) if frame[6:12] == last[6:12]]
        assert found == legitimate


@STRATEGIES
def test_headers_and_tags_hide_no_message_that_leaves(
    network: Lan, vmnet: Vmnet, strategy: str
) -> None:
    """The guest's tap has no filter."""
    web, station = network.container("web", ipv6=True), network.station()
    with (
        vmnet.running(web, VMNET_FILTER="off", VMNET_BRIDGE=strategy),
        behind_tap(hypervisor(web), web.mac) as vm,
        heard(station) as card,
    ):
        last = forged(web.mac)
        hidden = [_from(web.mac, frame) for frame in _HIDDEN]
        send(vm, *hidden)
        send(vm, *(_from(web.mac, frame, _PRIORITY_TAG) for frame in _HIDDEN), last)
        found = [frame for frame in until_seen(card, last) if frame[6:12] == last[6:12]]
        assert not [frame for frame in found if frame in hidden]


@pytest.fixture
def kept(network: Lan) -> Iterator[tuple[Lan, Namespace]]:
    """A container that forwards packets and keeps a second network; and that network."""
    with lan(2) as second:
        web = network.container("web", ipv6=True, resolv_conf=ON_LOOPBACK)
        second.attach(web, "eth1", gateway=False)
        web.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        yield second, web


@pytest.mark.parametrize("filtered", ["on", "off"])
def test_a_guest_reaches_nothing_beyond_the_bridge(
    network: Lan, kept: tuple[Lan, Namespace], vmnet: Vmnet, filtered: str
) -> None:
    """It reaches neither a network that the container kept nor a service in the container."""
    second, web = kept
    internal = second.station("internal")
    internal.ip("route", "replace", "default", "via", web.nic("eth1").address)
    settings = {"VMNET_INTERFACES": "eth0", "VMNET_FILTER": filtered}
    with (
        dnsmasq(web, *ENGINE),
        vmnet.running(web, **settings),
        web_server(web, port=8080),
        guest(web) as vm,
        heard(internal) as there,
    ):
        bridge = str(bridge_address(web).ip)
        bridge_mac = web.link("br0")["address"]  # type: ignore[index]
        assert _forwarding(web) == {"br0": 0, "tap0": 0, "eth1": 1}
        vm.run("ping", "-c1", "-W5", bridge)
        vm.ip("route", "add", str(second.network), "via", bridge)
        for address in (internal.address, web.nic("eth1").address):
            assert vm.run("ping", "-c1", "-W1", address, check=False).returncode
        for address in (bridge, web.nic("eth1").address):
            fetch = ("curl", "-s", "--max-time", "1", f"http://{address}:8080/")
            assert vm.run(*fetch, check=False).returncode == _TIMED_OUT
        # Nor by a MAC that a bridge passes to its host: reserved multicast, broadcast, its own.
        before = _refused_datagrams(web)
        packet = frames.ipv4(web.address, frames.UDP, frames.ports(1, 9))
        to = IPv4Address(web.nic("eth1").address).packed
        for mac in ("01:80:c2:00:00:0e", "ff:ff:ff:ff:ff:ff", bridge_mac):
            send(vm, _from(web.mac, mac_bytes(mac) + packet[6:30] + to + packet[34:]))
        vm.run("ping", "-c1", "-W5", bridge)
        assert _refused_datagrams(web) == before
        last = forged(second.host.link(second.bridge)["address"])  # type: ignore[index]
        send(second.host, last, by=second.bridge)
        source = IPv4Address(web.address).packed
        assert not [frame for frame in until_seen(there, last) if frame[26:30] == source]


def _forwarding(container: Namespace) -> dict[str, int]:
    return {
        link: int(container.run("cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding").stdout)
        for link in ("br0", "tap0", "eth1")
    }


def _refused_datagrams(container: Namespace) -> int:
    """Return the number of UDP datagrams received for a port without a listener."""
    counted = container.run("nstat", "-asz", "UdpNoPorts").stdout.split()
    return int(counted[counted.index("UdpNoPorts") + 1])


def test_only_the_guest_can_use_the_forwarder(network: Lan, vmnet: Vmnet) -> None:
    web, station = network.container("web", resolv_conf=ON_LOOPBACK), network.station()
    with dnsmasq(web, *ENGINE) as engine, vmnet.running(web), guest(web) as vm:
        address = bridge_address(web)
        asked = ("busybox", "nslookup", "-type=a", "db.test", str(address.ip))
        assert "192.0.2.7" in vm.run(*asked).stdout
        seen = engine.output().count("query[A] db.test")
        station.ip("route", "add", "169.254.0.0/16", "dev", "eth0")
        for own in (address for address in web.addresses("br0") if address["family"] == "inet"):
            ask = ("timeout", "1", *asked[:-1], own["local"])
            assert station.run(*ask, check=False).returncode
            connect = ("busybox", "nc", "-w1", own["local"], "53")
            assert station.run(*connect, input="", check=False).returncode
        station.run("ping", "-c1", "-W5", str(address.ip))
        assert engine.output().count("query[A] db.test") == seen
        assert "192.0.2.7" in vm.run(*asked).stdout


def test_forged_claims_do_not_divert_the_guests_answers(network: Lan, vmnet: Vmnet) -> None:
    """A forged claim of the guest's address changes nothing on the bridge."""
    web, station = network.container("web", resolv_conf=ON_LOOPBACK), network.station()
    with dnsmasq(web, *ENGINE), vmnet.running(web), guest(web) as vm, heard(station) as card:
        address = bridge_address(web)
        web.sysctl(net__ipv4__neigh__br0__locktime=0)  # the kernel believes a claim at once
        claims = [
            _from(station.mac, frame, tag)
            for operation in (1, 2)
            for target in (str(address.ip), web.address)
            for frame in [
                frames.arp(
                    web.address,
                    mac=mac_bytes(station.mac),
                    target=target,
                    operation=operation,
                )
            ]
            for tag in (b"", _PRIORITY_TAG)
        ]
        send(station, *claims)
        station.run("ping", "-c1", "-W5", str(address.ip))
        asked = vm.run("busybox", "nslookup", "-type=a", "db.test", str(address.ip))
        assert "192.0.2.7" in asked.stdout
        (known,) = web.ip("-j", "neighbour", "show", web.address).json()
        assert (known["lladdr"], known["state"]) == (web.mac, ["PERMANENT"])
        assert not [frame for frame in waiting(card) if b"db\x04test" in frame]
