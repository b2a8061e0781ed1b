"""The filters on an uplink, run by the tests' BPF interpreter."""

from __future__ import annotations

import struct
from ipaddress import IPv4Interface, IPv6Address

import pytest
from attrs import evolve
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.unit import bpf, frames
from tests.unit.frames import (
    DESTINATION,
    EVERYDAY,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMP6,
    LINK_LOCAL,
    MAC,
    MORE,
    OTHER4,
    OTHER6,
    OTHER_MAC,
    OWN,
    OWN4,
    OWN4_TOO,
    OWN6,
    OWN6_TOO,
    ROUTING,
    TCP,
    UDP,
    arp,
    ethernet,
    extension,
    fragment,
    message,
    ports,
)
from vmnet.net.filters import cbpf, containment

PASS, DROP, CUT = 0xFFFFFFFF, 2, 0  # TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_OK
assert OWN.addresses
CONTAINED = frames.port(contain=True, sender=OWN, owned=OWN.addresses)
UNFILTERED = frames.port(contain=True, owned=OWN.addresses)  # VMNET_FILTER=off
OUTSIDE = frames.port(sender=OWN, owned=OWN.addresses)  # DHCP comes from the network
UNKNOWN = frames.port(sender=frames.ANY)  # DHCP and the addresses come from the network
ENTERING = {
    name: cbpf.assemble(containment.entering(port))
    for name, port in {
        "contained": CONTAINED,
        "unfiltered": UNFILTERED,
        "outside": OUTSIDE,
        "unknown": UNKNOWN,
    }.items()
}
LEAVING = {
    "contained": cbpf.assemble(containment.leaving(CONTAINED)),
    "unfiltered": cbpf.assemble(containment.leaving(UNFILTERED)),
}
PROGRAMS = {
    **{f"entering, {name}": program for name, program in ENTERING.items()},
    **{f"leaving, {name}": program for name, program in LEAVING.items()},
}
CONTAINING = [
    program for name, program in PROGRAMS.items() if "contained" in name or "unfiltered" in name
]


def from_network(frame: bytes) -> bytes:
    return frame[:6] + OTHER_MAC + frame[12:]


def ipv4(protocol: int, payload: bytes, *, options: bytes = b"", fragment: int = 0) -> bytes:
    return from_network(frames.ipv4(OTHER4, protocol, payload, options=options, fragment=fragment))


def ipv6(next_header: int, payload: bytes) -> bytes:
    return from_network(frames.ipv6(LINK_LOCAL, next_header, payload))


def icmpv6(kind: int, target: str = "::") -> bytes:
    return ipv6(ICMP6, message(kind, target))


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """:param tags: EtherType and VLAN, outermost first"""
    inner = b"".join(struct.pack("!HH", *tag) for tag in tags)
    return frame[:12] + inner + frame[12:]


CONTAINED_MESSAGES = {
    "request": ipv4(UDP, ports(68, 67)),
    "reply": ipv4(UDP, ports(67, 68)),
    "relayed": ipv4(UDP, ports(67, 67)),
    "options": ipv4(UDP, ports(68, 67), options=bytes(4)),
    "most options": ipv4(UDP, ports(68, 67), options=bytes(40)),
    "first fragment": ipv4(UDP, ports(68, 67), fragment=MORE),
    "don't fragment": ipv4(UDP, ports(68, 67), fragment=0x4000),
    "v6 request": ipv6(UDP, ports(546, 547)),
    "v6 reply": ipv6(UDP, ports(547, 546)),
    "router solicitation": icmpv6(133),
    "router advertisement": icmpv6(134),
}
OTHER_MESSAGES = {
    "arp": from_network(arp(OTHER4)),
    "lldp": from_network(ethernet(0x88CC, bytes(60))),
    "vlan": from_network(ethernet(0x8100, struct.pack("!HH", 5, 0x0800) + bytes(40))),
    "from port 68": ipv4(UDP, ports(68, 53)),
    "from port 67": ipv4(UDP, ports(67, 1067)),
    "tcp": ipv4(TCP, ports(40000, 67)),
    "icmp": ipv4(ICMP, ports(68, 67)),
    "later fragment": ipv4(UDP, ports(68, 67), fragment=1),
    "middle fragment": ipv4(UDP, ports(68, 67), fragment=MORE | 185),
    "ports in options": ipv4(UDP, ports(68, 53), options=struct.pack("!HH", 68, 67)),
    "v6 from 546": ipv6(UDP, ports(546, 53)),
    "v6 tcp": ipv6(TCP, ports(40000, 547)),
    "dhcpv4's ports on v6": ipv6(UDP, ports(68, 67)),
    **{f"icmpv6 {kind}": icmpv6(kind) for kind in (128, 129, 132, 135, 136, 137)},
    "icmpv6's number in ipv4": ipv4(ICMP6, bytes((134,)) + bytes(40)),
    "listener report": ipv6(HOP_BY_HOP, frames.listener_report()),
    "ipsec": ipv6(50, bytes(40)),
    "authenticated": ipv6(51, bytes((ICMP6, 4)) + bytes(22) + message(134)),
    "later fragment of a router advertisement": ipv6(
        FRAGMENT, fragment(ICMP6, message(134), offset=1)
    ),
    "nothing follows": ipv6(59, b""),
}
# Contained messages, for tests that hide them behind extension headers and fragments.
HIDDEN = [
    *(ipv6(ICMP6, message(kind)) for kind in (133, 134)),
    *(ipv6(UDP, ports(*pair)) for pair in ((546, 547), (547, 546))),
]
INNOCENT = [
    *(ipv6(ICMP6, message(kind)) for kind in (128, 129, 135)),
    *(ipv6(UDP, ports(40000, port)) for port in (53, 545, 548)),
    *(ipv6(protocol, ports(40000, 547)) for protocol in (TCP, 50, 51, 59, 135)),
]


@pytest.mark.parametrize("program", CONTAINING)
@pytest.mark.parametrize("frame", CONTAINED_MESSAGES.values(), ids=CONTAINED_MESSAGES)
def test_dhcp_and_router_messages_are_dropped(frame: bytes, program: bytes) -> None:
    assert bpf.run(program, frame) == DROP


@pytest.mark.parametrize("program", ENTERING.values(), ids=ENTERING)
@pytest.mark.parametrize("frame", OTHER_MESSAGES.values(), ids=OTHER_MESSAGES)
def test_other_messages_enter(frame: bytes, program: bytes) -> None:
    assert bpf.run(program, frame) == PASS


@pytest.mark.parametrize("program", LEAVING.values(), ids=LEAVING)
@pytest.mark.parametrize("frame", OTHER_MESSAGES.values(), ids=OTHER_MESSAGES)
def test_other_messages_leave(frame: bytes, program: bytes) -> None:
    assert bpf.run(program, frame[:6] + MAC + frame[12:]) == PASS


@pytest.mark.parametrize("name", ["outside", "unknown"])
@pytest.mark.parametrize("frame", CONTAINED_MESSAGES.values(), ids=CONTAINED_MESSAGES)
def test_the_networks_dhcp_enters_if_the_container_has_none(frame: bytes, name: str) -> None:
    assert bpf.run(ENTERING[name], frame) == PASS


Header = tuple[int, int, bool]  # kind; length in units of eight bytes; whether fragments follow


headers = st.lists(
    st.tuples(
        st.sampled_from((HOP_BY_HOP, ROUTING, DESTINATION, FRAGMENT)),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=12,
)


def behind(chain: list[Header], frame: bytes) -> bytes:
    """Return an IPv6 packet with further headers before its payload."""
    kind, payload = frame[20], frame[54:]
    for header, length, more in reversed(chain):
        if header == FRAGMENT:
            payload = fragment(kind, payload, more=more)
        else:
            payload = bytes((kind, length, 1, 4)) + bytes(4 + 8 * length) + payload
        kind = header
    return ipv6(kind, payload)


@given(headers, st.sampled_from(HIDDEN), st.sampled_from(CONTAINING))
@example([(DESTINATION, 0, False)], HIDDEN[1], ENTERING["contained"])
@example([(FRAGMENT, 0, False)], HIDDEN[2], LEAVING["contained"])
@example([(HOP_BY_HOP, 31, False)] * 12, HIDDEN[1], ENTERING["contained"])
def test_no_chain_of_headers_hides_a_message(
    chain: list[Header], frame: bytes, program: bytes
) -> None:
    assert bpf.run(program, behind(chain, frame)) == DROP


@given(headers, st.sampled_from(INNOCENT), st.sampled_from(list(ENTERING.values())))
def test_any_chain_of_legitimate_length_passes(
    chain: list[Header], frame: bytes, program: bytes
) -> None:
    """RFC 8200 section 4.1 has six kinds of headers before the payload."""
    assert bpf.run(program, behind(chain[:7], frame)) == PASS


@given(headers, headers, st.sampled_from(HIDDEN), st.integers(0, 12), st.binary(max_size=40))
def test_no_fragment_hides_a_message_in_the_next(
    before: list[Header], after: list[Header], frame: bytes, words: int, behind_it: bytes
) -> None:
    """A first fragment that ends within its headers is dropped (RFC 7112), also with padding."""
    before = [header for header in before if header[0] != FRAGMENT][:3]
    whole = behind([*before, (FRAGMENT, 0, True), *after], frame)
    least = 54 + 8 * sum(1 + length for _, length, _ in before) + 8
    cut = whole[: least + 8 * words]
    assume(len(cut) < len(whole))
    cut = cut[:18] + struct.pack("!H", len(cut) - 54) + cut[20:]
    assert bpf.run(ENTERING["contained"], cut + behind_it) == DROP


tags = st.lists(st.tuples(st.sampled_from((0x8100, 0x88A8)), st.just(0)), max_size=5)


@given(tags, st.sampled_from(list(CONTAINED_MESSAGES.values())), st.sampled_from(CONTAINING))
def test_no_priority_tag_hides_a_message(
    found: list[tuple[int, int]], frame: bytes, program: bytes
) -> None:
    """A host removes any number of priority tags (IEEE 802.1Q, VLAN 0)."""
    assert bpf.run(program, tagged(frame, *found)) == DROP


@given(tags, st.integers(1, 4094), st.sampled_from(list(CONTAINED_MESSAGES.values())))
def test_dhcp_in_a_vlan_passes_if_the_guest_may_use_vlans(
    found: list[tuple[int, int]], vlan: int, frame: bytes
) -> None:
    inner = tagged(frame, *found[:1], (0x8100, vlan))
    assert bpf.run(ENTERING["unfiltered"], inner) == PASS
    assert bpf.run(ENTERING["contained"], inner) == DROP
    assert bpf.run(ENTERING["unfiltered"], frame, {cbpf.VLAN_TAG: 0xE000 | vlan}) == PASS
    assert bpf.run(ENTERING["unfiltered"], frame, {cbpf.VLAN_TAG: 0xE000}) == DROP
    assert bpf.run(ENTERING["contained"], frame, {cbpf.VLAN_TAG: vlan}) == DROP


@given(tags, st.sampled_from(list(OTHER_MESSAGES.values())))
def test_other_messages_pass_with_priority_tags(found: list[tuple[int, int]], frame: bytes) -> None:
    for program in CONTAINING:
        assert bpf.run(program, tagged(frame, *found[:2])) == PASS


@given(st.integers(0, 65535), st.integers(0, 10), st.sampled_from((UDP, TCP)))
@example(67, 0, UDP)
@example(68, 10, UDP)
def test_ipv4_protocols_and_destination_ports(port: int, option_words: int, protocol: int) -> None:
    frame = ipv4(protocol, ports(40000, port), options=bytes(4 * option_words))
    expected = DROP if protocol == UDP and port in (67, 68) else PASS
    assert all(bpf.run(program, frame) == expected for program in CONTAINING)


@pytest.mark.parametrize("program", ENTERING.values(), ids=ENTERING)
@pytest.mark.parametrize("frame", EVERYDAY.values(), ids=EVERYDAY)
def test_reflected_and_forged_frames_are_dropped(frame: bytes, program: bytes) -> None:
    """A switch may reflect the guest's frames; a host may forge frames with the bridge's MAC."""
    assert bpf.run(program, frame) == DROP
    bridge = bytes.fromhex(frames.bridge().mac.replace(":", ""))
    assert bpf.run(program, frame[:6] + bridge + frame[12:]) == DROP


@pytest.mark.parametrize("name", ENTERING)
def test_what_the_guest_sends_to_itself_through_the_host_enters(name: str) -> None:
    """br_netfilter translates the addresses, and keeps the source MAC."""
    returned = MAC + frames.ipv4(OTHER4, TCP, bytes(20))[6:]
    assert bpf.run(ENTERING[name], returned) == PASS
    claim = MAC + arp(OWN4)[6:]
    assert bpf.run(ENTERING[name], claim) == (PASS if name == "unknown" else DROP)


@pytest.mark.parametrize("name", ["contained", "unfiltered", "outside"])
@pytest.mark.parametrize("operation", [1, 2])
def test_claims_of_the_guests_addresses_are_dropped(operation: int, name: str) -> None:
    for address in (OWN4, OWN4_TOO):
        claim = from_network(arp(address, mac=OTHER_MAC, operation=operation))
        assert bpf.run(ENTERING[name], claim) == DROP
        assert bpf.run(ENTERING[name], tagged(claim, (0x8100, 0))) == DROP
        assert bpf.run(ENTERING["unknown"], claim) == PASS
    for target in (OWN6, OWN6_TOO):
        assert bpf.run(ENTERING[name], icmpv6(136, target)) == DROP
        hidden = ipv6(HOP_BY_HOP, extension(ICMP6, message(136, target)))
        assert bpf.run(ENTERING[name], hidden) == DROP
        assert bpf.run(ENTERING["unknown"], hidden) == PASS


@pytest.mark.parametrize("name", ENTERING)
def test_claims_of_other_addresses_and_questions_enter(name: str) -> None:
    """The guest must hear a probe for its address, to answer it (RFC 5227, RFC 4862)."""
    for frame in (
        arp(OTHER4, mac=OTHER_MAC, target=OWN4),
        arp("0.0.0.0", mac=OTHER_MAC, target=OWN4),
        frames.ipv6("::", ICMP6, message(135, OWN6)),
        frames.ipv6(LINK_LOCAL, ICMP6, message(136, OTHER6)),
    ):
        assert bpf.run(ENTERING[name], from_network(frame)) == PASS


@pytest.mark.parametrize("program", ENTERING.values(), ids=ENTERING)
@pytest.mark.parametrize("frame", OTHER_MESSAGES.values(), ids=OTHER_MESSAGES)
def test_a_frame_to_reserved_multicast_is_like_any_other(frame: bytes, program: bytes) -> None:
    """The bridge forwards such frames (IEEE 802.1Q table 8-1)."""
    reserved = bytes((0x01, 0x80, 0xC2, 0, 0, 0x0E)) + frame[6:]
    assert bpf.run(program, reserved) == bpf.run(program, frame)


@given(st.binary(max_size=120), st.sampled_from((0x0800, 0x86DD, 0x0806, 0x8100)))
@example(b"", 0x0800)
def test_every_frame_gets_a_verdict(payload: bytes, kind: int) -> None:
    """A truncated frame may pass, because a load beyond its end ends the program."""
    frame = from_network(ethernet(kind, payload))
    for program in PROGRAMS.values():
        assert bpf.run(program, frame) in (PASS, DROP, CUT)


@pytest.mark.parametrize("count", [0, 1, 200])
def test_the_kernel_accepts_the_programs(count: int) -> None:
    many = tuple(IPv6Address((0xFD << 120) + number) for number in range(count))
    for port in (CONTAINED, UNFILTERED, OUTSIDE, UNKNOWN):
        with_many = evolve(port, owned=many)
        for program in (containment.entering(with_many), containment.leaving(with_many)):
            bpf.check(cbpf.assemble(program))


@pytest.mark.parametrize(
    ("first", "further"), [("169.254.7.7/32", None), ("172.17.255.254/16", "169.254.7.7/32")]
)
def test_claims_of_the_bridges_link_local_address_are_dropped(
    first: str, further: str | None
) -> None:
    """Claims of its spare address pass: the responder handles them."""
    bridge = frames.bridge(
        address=IPv4Interface(first),
        link_local=IPv4Interface(further) if further else None,
    )
    port = evolve(UNKNOWN, local=bridge)
    program = cbpf.assemble(containment.entering(port))
    for operation in (1, 2):
        for address, verdict in (("169.254.7.7", DROP), ("172.17.255.254", PASS), (OTHER4, PASS)):
            claim = from_network(arp(address, mac=OTHER_MAC, operation=operation))
            assert bpf.run(program, claim) == verdict
