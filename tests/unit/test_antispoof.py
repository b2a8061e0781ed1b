"""The filter on a tap, run by the tests' BPF interpreter."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import cast

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.unit import bpf, frames
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
from vmnet.model.wiring import Sender
from vmnet.net import rtnl
from vmnet.net.filters import antispoof, cbpf

PASS, DROP, CUT = 0xFFFFFFFF, 2, 0  # TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_OK


def assembled(sender: Sender) -> bytes:
    return cbpf.assemble(antispoof.program(MAC.hex(":"), sender))


PROGRAMS = {"own": assembled(OWN), "any": assembled(ANY)}


def decision(sender: str, frame: bytes, *, tagged: bool = False) -> int:
    return bpf.run(PROGRAMS[sender], frame, {cbpf.VLAN_TAG_PRESENT: int(tagged)})


def named(*groups: dict[str, bytes]) -> list[object]:
    return [pytest.param(frame, id=name) for group in groups for name, frame in group.items()]


@pytest.mark.parametrize("sender", PROGRAMS)
@pytest.mark.parametrize("frame", named(EVERYDAY))
def test_everyday_frames_pass(frame: bytes, sender: str) -> None:
    assert decision(sender, frame) == PASS


@pytest.mark.parametrize("sender", PROGRAMS)
@pytest.mark.parametrize("frame", named(ROGUE))
def test_messages_of_servers_and_routers_are_dropped(frame: bytes, sender: str) -> None:
    assert decision(sender, frame) == DROP


@pytest.mark.parametrize("frame", named(FOREIGN, ROUTERS))
def test_foreign_addresses_are_dropped(frame: bytes) -> None:
    assert decision("own", frame) == DROP


@pytest.mark.parametrize("frame", named(FOREIGN, ROUTERS))
def test_any_address_passes_if_the_guests_are_unknown(frame: bytes) -> None:
    assert decision("any", frame) == PASS


@pytest.mark.parametrize("sender", PROGRAMS)
@pytest.mark.parametrize("frame", named(EVERYDAY, ROGUE, FOREIGN))
def test_a_vlan_tag_hides_nothing(frame: bytes, sender: str) -> None:
    """The kernel removes the outermost tag before the filter runs."""
    assert decision(sender, frame, tagged=True) == DROP


@pytest.mark.parametrize("sender", PROGRAMS)
@pytest.mark.parametrize("frame", named(EVERYDAY, ROGUE, FOREIGN))
def test_a_frame_to_reserved_multicast_is_like_any_other(frame: bytes, sender: str) -> None:
    """The bridge forwards such frames (IEEE 802.1Q table 8-1)."""
    reserved = bytes((0x01, 0x80, 0xC2, 0, 0, 0x0E)) + frame[6:]
    assert decision(sender, reserved) == decision(sender, frame)


def test_an_unfiltered_guest_has_no_filter() -> None:
    kernel = cast(rtnl.Rtnl, object())  # fails every request
    assert antispoof.filter_tap(kernel, frames.port(sender=None))


@given(st.ip_addresses(v=4))
@example(IPv4Address(OWN4))
def test_ipv4_source_addresses(address: IPv4Address) -> None:
    assume(int(address) != 0)
    expected = PASS if str(address) in (OWN4, OWN4_TOO) else DROP
    assert decision("own", ipv4(str(address), TCP, ports(1, 2))) == expected
    assert decision("own", arp(str(address))) == expected


@given(st.ip_addresses(v=6), st.integers(0, 127))
@example(IPv6Address(OWN6), 0)
@example(IPv6Address(LINK_LOCAL), 0)
def test_ipv6_source_addresses(address: IPv6Address, bit: int) -> None:
    flipped = IPv6Address(int(IPv6Address(OWN6)) ^ 1 << bit)
    for source in (address, flipped):
        passes = str(source) in (OWN6, OWN6_TOO) or (source.is_link_local and str(source) != ROUTER)
        expected = PASS if passes else DROP
        assert decision("own", ipv6(str(source), TCP, ports(1, 2))) == expected
        assert decision("own", ipv6(OWN6, ICMP6, message(136, str(source)))) == expected


@given(st.sampled_from((HOP_BY_HOP, ROUTING, DESTINATION, FRAGMENT)), st.binary(max_size=60))
def test_no_extension_header_hides_a_router_advertisement(kind: int, noise: bytes) -> None:
    """No content of the first header lets a router advertisement pass."""
    hidden = bytes((ICMP6, 0)) + noise[:6].ljust(6, b"\0") + message(134)
    if kind == FRAGMENT:
        hidden = fragment(ICMP6, message(134), more=bool(noise))
    assert decision("own", ipv6(LINK_LOCAL, kind, hidden)) == DROP
    assert decision("any", ipv6(LINK_LOCAL, kind, hidden)) == DROP


@given(st.sampled_from([*FOREIGN.values(), *ROGUE.values()]), st.integers(14, 200))
def test_a_truncated_frame_does_not_evade_the_filter(frame: bytes, length: int) -> None:
    """A frame without a whole protocol header may pass, but every host drops it."""
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
def test_every_frame_gets_a_verdict(payload: bytes, kind: int) -> None:
    assert decision("own", ethernet(kind, payload)) in (PASS, DROP, CUT)


@pytest.mark.parametrize("count", [0, 1, 200])
def test_the_kernel_accepts_the_program(count: int) -> None:
    many = tuple(IPv6Address((0xFD << 120) + number) for number in range(count))
    program = assembled(Sender(many, (IPv6Address(ROUTER),)))
    bpf.check(program)
    for address in many[:: max(count // 3, 1)]:
        frame = ipv6(str(address), TCP, ports(1, 2))
        assert bpf.run(program, frame) == PASS
