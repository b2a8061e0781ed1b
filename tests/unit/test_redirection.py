"""The filters of a redirection, run by the tests' BPF interpreter."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, IPv4Interface
from typing import cast

import pytest
from attrs import evolve, frozen

from tests.unit import bpf, frames
from tests.unit.frames import (
    GATEWAY4,
    ICMP,
    LINK_LOCAL,
    MAC,
    MORE,
    OTHER4,
    OTHER_MAC,
    OWN4,
    TCP,
    UDP,
    arp,
    ethernet,
    message,
    ports,
)
from vmnet.errors import BridgeError
from vmnet.model.wiring import Local, Outside, Redirect, Tap
from vmnet.net import links, rtnl
from vmnet.net.filters import cbpf, clsact, containment, redirection
from vmnet.strategies.redirect import build
from vmnet.strategies.redirect.ends import Ends

KEEP, NEXT, DROP = 0, 0xFFFFFFFF, 2  # TC_ACT_OK, TC_ACT_UNSPEC, TC_ACT_SHOT
OWN, SPARE, NEXT_SPARE = "169.254.7.7", "172.17.255.254", "172.17.255.250"
SPARES = tuple(IPv4Interface(f"{address}/32") for address in (SPARE, NEXT_SPARE))
TAP = Local("tap0", "06:00:00:00:00:01", IPv4Interface(f"{OWN}/32"), spares=SPARES)
TAP_MAC = bytes.fromhex("060000000001")
OUTSIDE = Outside(
    "out0", "06:00:00:00:00:02", IPv4Interface(f"{SPARE}/16"), (IPv4Interface(f"{NEXT_SPARE}/16"),)
)
OUT_MAC = bytes.fromhex("060000000002")
BROADCAST = "255.255.255.255"
PORT = evolve(frames.port(contain=True), path=Redirect("veth", 0, OUTSIDE), local=TAP)
FOR_CONTAINER = cbpf.assemble(redirection.for_container(PORT, TAP))
NOT_CONTAINED = cbpf.assemble(redirection.for_container(evolve(PORT, contain=False), TAP))
FOR_OUTSIDE = cbpf.assemble(redirection.for_outside(OUTSIDE))
AT_OUTSIDE = cbpf.assemble(
    redirection.outside_program(
        evolve(PORT, owned=(IPv4Address(OWN4),)), Redirect("macvlan"), OUTSIDE
    )
)
TAGGED = {cbpf.VLAN_TAG_PRESENT: 1}


ARP_FOR_IT = b"\xff" * 6 + OTHER_MAC + arp(OTHER4, mac=OTHER_MAC, target=SPARE)[12:]


def from_neighbour(frame: bytes) -> bytes:
    return frame[:6] + OTHER_MAC + frame[12:26] + IPv4Address(OTHER4).packed + frame[30:]


def to(address: str, protocol: int, payload: bytes, *, fragment: int = 0) -> bytes:
    frame = frames.ipv4(OWN4, protocol, payload, fragment=fragment)
    return frame[:30] + IPv4Address(address).packed + frame[34:]


DISCOVER = to(BROADCAST, UDP, ports(68, 67))
KEPT = {
    "dhcp": DISCOVER,
    "a renewal": to(OWN, UDP, ports(68, 67)),
    "arp for the tap": arp(OWN4, target=OWN),
    "an answer to the tap's arp": arp(OWN4, target=OWN, operation=2),
    "dns": to(OWN, UDP, ports(40000, 53)),
    "ping": to(OWN, ICMP, bytes((8, 0)) + bytes(30)),
    "dns through the gateway": MAC + to(OWN, UDP, ports(40000, 53))[6:],
    "dns at the spare address": TAP_MAC + to(SPARE, UDP, ports(40000, 53))[6:],
    "an answer to arp from the spare address": TAP_MAC + arp(OWN4, target=SPARE, operation=2)[6:],
}
REDIRECTED = {
    "arp for the spare address": arp(OWN4, target=SPARE),
    "dns at another machine with the spare address": to(SPARE, UDP, ports(40000, 53)),
    "a packet for the network to the tap": TAP_MAC + to(OTHER4, TCP, ports(1, 2))[6:],
    "arp for the gateway": arp(OWN4, target=GATEWAY4),
    "a packet for a neighbour": to(OTHER4, TCP, ports(40000, 80)),
    "dhcp for another server": to(OTHER4, UDP, ports(68, 67)),
    "another broadcast": to(BROADCAST, UDP, ports(40000, 9)),
    "a fragment of a broadcast": to(BROADCAST, UDP, ports(68, 67), fragment=MORE),
    "a broadcast of another protocol": to(BROADCAST, TCP, ports(68, 67)),
    "a router solicitation": frames.ipv6(LINK_LOCAL, frames.ICMP6, message(133)),
    "LLDP": ethernet(0x88CC, bytes(46)),
    "LACP": ethernet(0x8809, bytes(110)),
}
REFUSED = {
    "a service at the spare address": TAP_MAC + to(NEXT_SPARE, TCP, ports(40000, 8080))[6:],
    "a service": to(OWN, TCP, ports(40000, 8080)),
    "a fragment": to(OWN, UDP, ports(40000, 53), fragment=MORE),
    "a datagram": to(OWN, UDP, ports(40000, 4500)),
    "a short arp": arp(OWN4, target=OWN)[:30],
    "a short packet": to(OWN, UDP, b"")[:24],
}


@pytest.mark.parametrize("frame", KEPT.values(), ids=KEPT)
def test_frames_for_the_container(frame: bytes) -> None:
    assert bpf.run(FOR_CONTAINER, frame) == KEEP


@pytest.mark.parametrize("frame", REDIRECTED.values(), ids=REDIRECTED)
def test_frames_for_the_network(frame: bytes) -> None:
    assert bpf.run(FOR_CONTAINER, frame) == NEXT


@pytest.mark.parametrize("frame", REFUSED.values(), ids=REFUSED)
def test_frames_that_the_container_refuses(frame: bytes) -> None:
    assert bpf.run(FOR_CONTAINER, frame) == DROP


def test_a_frame_of_a_vlan_is_not_for_the_container() -> None:
    assert bpf.run(FOR_CONTAINER, KEPT["dns"], TAGGED) == NEXT


def test_dhcp_that_another_server_answers_leaves() -> None:
    assert bpf.run(NOT_CONTAINED, DISCOVER) == NEXT


@pytest.mark.parametrize(
    "frame",
    [
        to(SPARE, TCP, ports(53, 40000)),
        arp(OTHER4, mac=OTHER_MAC, target=SPARE, operation=2),
    ],
)
def test_frames_for_the_way_out(frame: bytes) -> None:
    assert bpf.run(FOR_OUTSIDE, OUT_MAC + frame[6:]) == KEEP


@pytest.mark.parametrize(
    ("frame", "tag", "copied"),
    [
        (ARP_FOR_IT, 0, True),
        (arp(SPARE, mac=OTHER_MAC), 0, True),
        (ARP_FOR_IT, 1, False),
        (MAC + ARP_FOR_IT[6:], 0, False),
        (b"\xff" * 6 + to(BROADCAST, UDP, ports(68, 67))[6:], 0, False),
    ],
)
def test_arp_broadcasts_are_for_both(frame: bytes, tag: int, copied: bool) -> None:
    program = cbpf.assemble(redirection.arp_broadcasts())
    result = bpf.run(program, frame, {cbpf.VLAN_TAG_PRESENT: tag})
    assert result == (clsact.SELECTED if copied else 0)


@pytest.mark.parametrize(
    "frame",
    [
        arp(OTHER4, mac=OTHER_MAC, target=OWN4),
        MAC + to(OWN4, TCP, ports(1, 2))[6:],
        MAC + to(SPARE, TCP, ports(1, 2))[6:],
        ethernet(0x88CC, bytes(46)),
    ],
)
def test_the_rest_is_the_guests(frame: bytes) -> None:
    assert bpf.run(FOR_OUTSIDE, frame) == NEXT


@pytest.mark.parametrize(
    ("frame", "result"),
    [
        (from_neighbour(to(SPARE, TCP, ports(53, 40000))), NEXT),
        (from_neighbour(to(NEXT_SPARE, ICMP, bytes((8, 0)) + bytes(30))), NEXT),
        (ARP_FOR_IT, NEXT),
        (from_neighbour(to(SPARE, UDP, ports(40000, 53))), DROP),
        (from_neighbour(to(SPARE, UDP, ports(68, 67))), DROP),
        (from_neighbour(to(SPARE, ICMP, bytes((5, 1)) + bytes(30))), DROP),
        (from_neighbour(to(OWN, UDP, ports(40000, 9))), DROP),
        (to(SPARE, TCP, ports(40000, 8080)), DROP),
        (arp(OWN4, target=SPARE), DROP),
        (arp(OWN4, mac=OTHER_MAC, target=SPARE), DROP),
        (OUT_MAC + OTHER_MAC + to(SPARE, TCP, ports(40000, 8080))[12:], DROP),
        (frames.ipv6(LINK_LOCAL, frames.ICMP6, message(135)), DROP),
    ],
)
def test_packets_at_the_way_out(frame: bytes, result: int) -> None:
    assert bpf.run(AT_OUTSIDE, frame) == result


def test_neighbours_on_ipvlan_have_the_guests_mac() -> None:
    def entering(kind: str) -> int:
        port = evolve(PORT, path=Redirect(kind), owned=(IPv4Address(OWN4),))
        program = cbpf.assemble(containment.entering(port))
        claim = bpf.run(program, arp(OWN4, mac=MAC, target=GATEWAY4))
        assert claim == DROP
        return bpf.run(program, arp(OTHER4, mac=MAC, target=OWN4))

    assert [entering(kind) for kind in ("macvlan", "ipvlan")] == [DROP, NEXT]


@frozen
class Lacking:
    """A kernel that refuses requests that contain a text, as without the module."""

    text: bytes

    def send_body(self, _kind: int, _flags: int, body: bytes) -> None:
        if self.text in body:
            raise rtnl.RtnlError(errno.ENOENT, "unknown")


@pytest.mark.parametrize(
    ("text", "module"),
    [(b"clsact", "sch_ingress"), (b"bpf", "cls_bpf"), (b"mirred", "act_mirred")],
)
def test_the_error_names_the_module_that_the_kernel_lacks(
    monkeypatch: pytest.MonkeyPatch, text: bytes, module: str
) -> None:
    monkeypatch.setattr(links, "index", lambda _name: 1)
    path = Redirect("macvlan")
    ends = Ends(evolve(PORT, path=path), path, TAP, Tap("tap0", (100,)))
    with pytest.raises(BridgeError) as caught:
        build.join(cast("rtnl.Rtnl", Lacking(text)), ends)
    assert caught.value.message == f"can't redirect the frames of eth0: the kernel lacks {module}"
    assert f"`modprobe {module}` on the host" in caught.value.hint
