"""The filter on a tap, run on frames by a BPF machine of our own."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.unit import bpf
from tests.unit.frames import (
    ANY,
    DESTINATION,
    EVERYDAY,
    FOREIGN,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP6,
    LINK_LOCAL,
    MAC,
    OWN,
    OWN4,
    OWN4_TOO,
    OWN6,
    OWN6_TOO,
    ROGUE,
    ROUTER,
    ROUTERS,
    ROUTING,
    TCP,
    arp,
    ethernet,
    fragment,
    ipv4,
    ipv6,
    message,
    ports,
)
from vmnet.net import antispoof, cbpf
from vmnet.wiring import Sender

PASS, DROP, CUT = 0xFFFFFFFF, 2, 0  # TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_OK


def assembled(sender: Sender | None) -> bytes:
    return cbpf.assemble(antispoof.program(MAC.hex(":"), sender))


PROGRAMS = {"own": assembled(OWN), "any": assembled(ANY)}


def decision(sender: str, frame: bytes, *, tagged: bool = False) -> int:
    return bpf.run(PROGRAMS[sender], frame, {cbpf.VLAN_TAG_PRESENT: int(tagged)})


def named(*groups: dict[str, bytes]) -> list[object]:
    return [pytest.param(frame, id=name) for group in groups for name, frame in group.items()]


@pytest.mark.parametrize("sender", PROGRAMS)
@pytest.mark.parametrize("frame", named(EVERYDAY))
def test_what_every_guest_sends_passes(frame: bytes, sender: str) -> None:
    assert decision(sender, frame) == PASS


@pytest.mark.parametrize("sender", PROGRAMS)
@pytest.mark.parametrize("frame", named(ROGUE))
def test_what_only_servers_and_routers_say_does_not(frame: bytes, sender: str) -> None:
    assert decision(sender, frame) == DROP


@pytest.mark.parametrize("frame", named(FOREIGN, ROUTERS))
def test_another_ones_address_does_not(frame: bytes) -> None:
    assert decision("own", frame) == DROP


@pytest.mark.parametrize("frame", named(FOREIGN, ROUTERS))
def test_any_address_does_where_it_comes_from_elsewhere(frame: bytes) -> None:
    assert decision("any", frame) == PASS


@pytest.mark.parametrize("sender", PROGRAMS)
@pytest.mark.parametrize("frame", named(EVERYDAY, ROGUE, FOREIGN))
def test_a_vlan_tag_hides_nothing(frame: bytes, sender: str) -> None:
    """The kernel takes the first tag off a frame before the filter sees it."""
    assert decision(sender, frame, tagged=True) == DROP


@pytest.mark.parametrize("sender", [OWN, ANY, None], ids=["own", "any", "anybody"])
@pytest.mark.parametrize("last", range(1, 16))
def test_what_a_bridge_keeps_for_its_host_does_not_reach_it(
    last: int, sender: Sender | None
) -> None:
    """IEEE 802.1Q table 8-1: past all that looks at the bridge."""
    program, dns = assembled(sender), EVERYDAY["dns"]
    assert bpf.run(program, bytes((0x01, 0x80, 0xC2, 0, 0, last)) + dns[6:]) == DROP
    for other in ((0x01, 0x80, 0xC2, 0, 0, 0), (0x01, 0x80, 0xC2, 0, 1, last)):
        assert bpf.run(program, bytes(other) + dns[6:]) == PASS


@pytest.mark.parametrize("frame", named(EVERYDAY, ROGUE, FOREIGN, ROUTERS))
def test_whoever_may_be_anybody_says_anything(frame: bytes) -> None:
    assert bpf.run(assembled(None), frame, {cbpf.VLAN_TAG_PRESENT: 1}) == PASS


@given(st.ip_addresses(v=4))
@example(IPv4Address(OWN4))
def test_ipv4_by_its_source_alone(address: IPv4Address) -> None:
    assume(int(address) != 0)
    expected = PASS if str(address) in (OWN4, OWN4_TOO) else DROP
    assert decision("own", ipv4(str(address), TCP, ports(1, 2))) == expected
    assert decision("own", arp(str(address))) == expected


@given(st.ip_addresses(v=6), st.integers(0, 127))
@example(IPv6Address(OWN6), 0)
@example(IPv6Address(LINK_LOCAL), 0)
def test_ipv6_by_its_source_alone(address: IPv6Address, bit: int) -> None:
    flipped = IPv6Address(int(IPv6Address(OWN6)) ^ 1 << bit)
    for one in (address, flipped):
        passes = str(one) in (OWN6, OWN6_TOO) or (one.is_link_local and str(one) != ROUTER)
        expected = PASS if passes else DROP
        assert decision("own", ipv6(str(one), TCP, ports(1, 2))) == expected
        assert decision("own", ipv6(OWN6, ICMP6, message(136, str(one)))) == expected


@given(st.sampled_from((HOP_BY_HOP, ROUTING, DESTINATION, FRAGMENT)), st.binary(max_size=60))
def test_no_extension_header_hides_a_router_advertisement(kind: int, noise: bytes) -> None:
    """Whatever comes first, what a Linux host takes for the next header is never one."""
    hidden = bytes((ICMP6, 0)) + noise[:6].ljust(6, b"\0") + message(134)
    if kind == FRAGMENT:
        hidden = fragment(ICMP6, message(134), more=bool(noise))
    assert decision("own", ipv6(LINK_LOCAL, kind, hidden)) == DROP
    assert decision("any", ipv6(LINK_LOCAL, kind, hidden)) == DROP


@given(st.sampled_from([*FOREIGN.values(), *ROGUE.values()]), st.integers(14, 200))
def test_a_frame_cut_short_is_no_way_round(frame: bytes, length: int) -> None:
    """Only one that holds no whole header of its protocol passes, and no host takes it."""
    cut = frame[:length]
    if decision("own", cut) != DROP:
        offset = 14 + (4 * (cut[14] & 0xF) if cut[12:14] == b"\x08\x00" else 40)
        assert len(cut) < offset + 16


@given(st.binary(min_size=14, max_size=90))
@example(ethernet(0x0800, b""))
def test_any_frame_from_another_mac_is_dropped(frame: bytes) -> None:
    assume(frame[6:12] != MAC)
    assert decision("own", frame) == decision("any", frame) == DROP


@given(st.binary(max_size=90), st.sampled_from((0x0800, 0x86DD, 0x0806)))
def test_any_frame_is_decided(payload: bytes, kind: int) -> None:
    assert decision("own", ethernet(kind, payload)) in (PASS, DROP, CUT)


@pytest.mark.parametrize("count", [0, 1, 200])
def test_the_program_is_one_the_kernel_takes(count: int) -> None:
    many = tuple(IPv6Address((0xFD << 120) + number) for number in range(count))
    program = assembled(Sender(many, (IPv6Address(ROUTER),)))
    bpf.check(program)
    for address in many[:: max(count // 3, 1)]:
        frame = ipv6(str(address), TCP, ports(1, 2))
        assert bpf.run(program, frame) == PASS
