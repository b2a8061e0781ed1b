"""The filter on a bridge, run by the tests' BPF interpreter."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit import bpf, frames
from tests.unit.frames import (
    GATEWAY4,
    ICMP,
    ICMP6,
    LINK_LOCAL,
    MAC,
    MORE,
    OTHER4,
    OTHER6,
    OTHER_MAC,
    OWN4,
    OWN6,
    TCP,
    UDP,
    arp,
    ethernet,
    message,
    ports,
)
from vmnet.model.kept import Kept, StandIn
from vmnet.model.ports import PortRange
from vmnet.net.filters import cbpf, reception

PASS, DROP, CUT = 0xFFFFFFFF, 2, 0  # TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_OK
SPARE, ANOTHER_SPARE, OWN_LINK_LOCAL = "172.17.255.254", "172.17.255.250", "169.254.7.7"
KEPT = "172.30.9.9"  # an address of a NIC that the container kept
BRIDGE = frames.bridge(
    address=ip_interface(f"{SPARE}/16"),
    link_local=ip_interface(f"{OWN_LINK_LOCAL}/32"),
    spares=(ip_interface(f"{ANOTHER_SPARE}/16"),),
)
STAND_IN4, STAND_IN6 = "169.254.8.8", "fe80::8"
KEPT_PORTS = Kept(
    (PortRange("tcp", 8006, 8010), PortRange("udp", 161, 161)),
    (
        StandIn(IPv4Address(OWN4), IPv4Address(STAND_IN4)),
        StandIn(IPv6Address(OWN6), IPv6Address(STAND_IN6)),
    ),
)
PROGRAM = cbpf.assemble(reception.program(frames.port(), BRIDGE))
LINK_LOCAL_ONLY = cbpf.assemble(
    reception.program(frames.port(), frames.bridge(address=ip_interface(f"{OWN_LINK_LOCAL}/32")))
)
BROADCAST = "255.255.255.255"
SYN, SYN_ACK, ACK, RST, FIN = 0x02, 0x12, 0x10, 0x04, 0x01


def to(
    address: str, protocol: int, payload: bytes, *, mac: bytes = MAC, fragment: int = 0
) -> bytes:
    frame = frames.ipv4(OWN4, protocol, payload, fragment=fragment)
    return frame[:6] + mac + frame[12:30] + IPv4Address(address).packed + frame[34:]


def tcp(port: int, flags: int) -> bytes:
    segment = bytearray(ports(40000, port))
    segment[13] = flags
    return bytes(segment)


FROM_GUEST = {
    "arp": arp(OWN4, target=SPARE),
    "dhcp discover": to(BROADCAST, UDP, ports(68, 67)),
    "dhcp renewal": to(SPARE, UDP, ports(68, 67)),
    "dhcp renewal at the link-local address": to(OWN_LINK_LOCAL, UDP, ports(68, 67)),
    "dns": to(SPARE, UDP, ports(40000, 53)),
    "dns at the link-local address": to(OWN_LINK_LOCAL, UDP, ports(40000, 53)),
    "dns at the next spare address": to(ANOTHER_SPARE, UDP, ports(40000, 53)),
    "dns over tcp": to(SPARE, TCP, tcp(53, SYN)),
    "ping": to(SPARE, ICMP, bytes((8, 0)) + bytes(30)),
    "answer to a ping": to(SPARE, ICMP, bytes((0, 0)) + bytes(30)),
    "answer to a connection": to(SPARE, TCP, tcp(40001, SYN_ACK)),
    "later segment": to(SPARE, TCP, tcp(40001, ACK)),
}
NOT_FROM_GUEST = {
    "a service": to(SPARE, TCP, tcp(8080, SYN)),
    "a service, with URG": to(SPARE, TCP, tcp(8080, SYN | 0x20)),
    "a reset": to(SPARE, TCP, tcp(8080, RST)),
    "a FIN": to(SPARE, TCP, tcp(8080, FIN)),
    "no flag": to(SPARE, TCP, tcp(8080, 0)),
    "a datagram": to(SPARE, UDP, ports(53, 4500)),
    "a dhcp answer": to(SPARE, UDP, ports(67, 68)),
    "a fragment of dns": to(SPARE, UDP, ports(40000, 53), fragment=MORE),
    "a later fragment of dns": to(SPARE, UDP, ports(40000, 53), fragment=9),
    "a fragment of a connection": to(SPARE, TCP, tcp(53, SYN)[:8], fragment=MORE),
    "a redirect": to(SPARE, ICMP, bytes((5, 1)) + bytes(30)),
    "an unreachable": to(SPARE, ICMP, bytes((3, 4)) + bytes(30)),
    "another protocol": to(SPARE, 50, bytes(30)),
    "the kept NIC's dns": to(KEPT, UDP, ports(40000, 53)),
    "the kept NIC's service": to(KEPT, TCP, tcp(8080, SYN)),
    "beyond the kept NIC": to("172.30.9.10", ICMP, bytes((8, 0)) + bytes(30)),
    "loopback": to("127.0.0.11", UDP, ports(40000, 53)),
    "multicast": to("224.0.0.251", UDP, ports(5353, 5353)),
    "ping6": frames.ipv6(LINK_LOCAL, ICMP6, message(128)),
    "tcp6": frames.ipv6(OWN6, TCP, tcp(53, SYN)),
    "lldp": ethernet(0x88CC, bytes(60)),
    "a second tag": ethernet(0x8100, b"\0\5" + to(SPARE, UDP, ports(40000, 53))[12:]),
}
FROM_NETWORK = {
    "arp": arp(OTHER4, mac=OTHER_MAC, target=SPARE),
    "an answer of a nameserver": to(SPARE, UDP, ports(53, 40000), mac=OTHER_MAC),
    "a later fragment of it": to(SPARE, UDP, ports(0, 53), mac=OTHER_MAC, fragment=185),
    "an answer over tcp": to(SPARE, TCP, tcp(40000, SYN_ACK), mac=OTHER_MAC),
    "ping": to(SPARE, ICMP, bytes((8, 0)) + bytes(30), mac=OTHER_MAC),
    "unreachable": to(SPARE, ICMP, bytes((3, 4)) + bytes(30), mac=OTHER_MAC),
    "vnc": to(SPARE, TCP, tcp(5900, SYN), mac=OTHER_MAC),
}
NOT_FROM_NETWORK = {
    "dns": to(SPARE, UDP, ports(40000, 53), mac=OTHER_MAC),
    "dns at the link-local address": to(OWN_LINK_LOCAL, UDP, ports(40000, 53), mac=OTHER_MAC),
    "dns over tcp": to(SPARE, TCP, tcp(53, SYN), mac=OTHER_MAC),
    "dns over tcp, later": to(SPARE, TCP, tcp(53, ACK), mac=OTHER_MAC),
    "a fragment of dns": to(SPARE, UDP, ports(40000, 53), mac=OTHER_MAC, fragment=MORE),
    "dhcp": to(SPARE, UDP, ports(68, 67), mac=OTHER_MAC),
    "dhcp by broadcast": to(BROADCAST, UDP, ports(68, 67), mac=OTHER_MAC),
    "a redirect": to(SPARE, ICMP, bytes((5, 1)) + bytes(30), mac=OTHER_MAC),
    "the kept NIC": to(KEPT, TCP, tcp(8080, SYN), mac=OTHER_MAC),
    "ping6": ethernet(0x86DD, frames.ipv6(LINK_LOCAL, ICMP6, message(128))[14:], mac=OTHER_MAC),
}


@pytest.mark.parametrize("frame", FROM_GUEST.values(), ids=FROM_GUEST)
def test_the_guest_may_send(frame: bytes) -> None:
    assert bpf.run(PROGRAM, frame) == PASS


@pytest.mark.parametrize("frame", NOT_FROM_GUEST.values(), ids=NOT_FROM_GUEST)
def test_the_guest_may_not_send(frame: bytes) -> None:
    assert bpf.run(PROGRAM, frame) == DROP


@pytest.mark.parametrize("frame", FROM_NETWORK.values(), ids=FROM_NETWORK)
def test_the_network_may_send(frame: bytes) -> None:
    assert bpf.run(PROGRAM, frame) == PASS


@pytest.mark.parametrize("frame", NOT_FROM_NETWORK.values(), ids=NOT_FROM_NETWORK)
def test_the_network_may_not_send(frame: bytes) -> None:
    assert bpf.run(PROGRAM, frame) == DROP


@pytest.mark.parametrize("frame", [*FROM_GUEST.values(), *FROM_NETWORK.values()])
def test_frames_in_a_vlan_are_dropped(frame: bytes) -> None:
    assert bpf.run(PROGRAM, frame, {cbpf.VLAN_TAG_PRESENT: 1}) == DROP


@given(st.ip_addresses(v=4), st.sampled_from((MAC, OTHER_MAC)))
@example(IPv4Address(GATEWAY4), MAC)
@example(IPv4Address(ANOTHER_SPARE), OTHER_MAC)
@example(IPv4Address(OWN_LINK_LOCAL), MAC)
@example(IPv4Address(BROADCAST), MAC)
def test_only_the_bridges_own_addresses_are_reachable(address: IPv4Address, mac: bytes) -> None:
    ping = to(str(address), ICMP, bytes((8, 0)) + bytes(30), mac=mac)
    expected = PASS if str(address) in (OWN_LINK_LOCAL, BROADCAST) else DROP
    assert bpf.run(LINK_LOCAL_ONLY, ping) == expected
    own = (SPARE, ANOTHER_SPARE, OWN_LINK_LOCAL, BROADCAST)
    assert bpf.run(PROGRAM, ping) == (PASS if str(address) in own else DROP)


@given(st.integers(0, 65535), st.integers(0, 255), st.binary(max_size=40))
def test_the_guest_opens_connections_only_for_dns(port: int, flags: int, options: bytes) -> None:
    options = options[: len(options) // 4 * 4]
    frame = frames.ipv4(OWN4, TCP, tcp(port, flags), options=options)
    frame = frame[:30] + IPv4Address(SPARE).packed + frame[34:]
    expected = PASS if port == 53 or flags & ACK else DROP
    assert bpf.run(PROGRAM, frame) == expected


def test_the_network_reaches_only_kept_ports_over_ipv6() -> None:
    program = cbpf.assemble(reception.program(frames.port(kept=KEPT_PORTS), BRIDGE))
    bpf.check(program)

    def verdict(
        protocol: int, payload: bytes, *, target: str = STAND_IN6, mac: bytes = OTHER_MAC
    ) -> int:
        packet = frames.ipv6(OTHER6, protocol, payload)[14:]
        packet = packet[:24] + IPv6Address(target).packed + packet[40:]
        return bpf.run(program, ethernet(0x86DD, packet, mac=mac))

    for port, expected in {8005: DROP, 8006: PASS, 8010: PASS, 8011: DROP, 161: DROP}.items():
        assert verdict(TCP, tcp(port, SYN)) == expected, port
        assert verdict(TCP, tcp(port, SYN), mac=MAC) == DROP
        assert verdict(TCP, tcp(port, SYN), target=OWN6) == DROP
    assert verdict(UDP, ports(40000, 161)) == PASS
    assert verdict(UDP, ports(40000, 8006)) == DROP
    kinds = [kind for kind in range(256) if verdict(ICMP6, message(kind)) == PASS]
    assert kinds == [135, 136]  # neighbour discovery
    assert verdict(ICMP6, message(135), mac=MAC) == DROP
    assert verdict(0, tcp(8006, SYN)) == DROP  # an extension header


def test_an_address_for_kept_ports_is_the_bridges_own() -> None:
    program = cbpf.assemble(reception.program(frames.port(kept=KEPT_PORTS), BRIDGE))
    syn = to(STAND_IN4, TCP, tcp(8006, SYN), mac=OTHER_MAC)
    assert bpf.run(program, syn) == PASS
    assert bpf.run(PROGRAM, syn) == DROP
    assert bpf.run(program, to(STAND_IN4, TCP, tcp(8006, SYN))) == DROP


@given(st.binary(max_size=90), st.sampled_from((0x0800, 0x86DD, 0x0806)))
def test_every_frame_gets_a_verdict(payload: bytes, kind: int) -> None:
    assert bpf.run(PROGRAM, ethernet(kind, payload)) in (PASS, DROP, CUT)


def test_the_kernel_accepts_the_program() -> None:
    for program in (PROGRAM, LINK_LOCAL_ONLY):
        bpf.check(program)
