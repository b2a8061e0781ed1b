"""The filter at the uplinks, run on frames by a BPF machine of our own."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit import bpf
from vmnet.net import cbpf, containment

PROGRAM = cbpf.assemble(containment._MESSAGES)
PASS, DROP, TOO_SHORT = 0xFFFFFFFF, 2, 0  # TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_OK
UDP, TCP, ICMP, ICMPV6 = 17, 6, 1, 58
MORE_FRAGMENTS = 0x2000


def ethernet(kind: int, payload: bytes) -> bytes:
    return bytes.fromhex("ffffffffffff 0242ac110002") + struct.pack("!H", kind) + payload


def ipv4(protocol: int, payload: bytes, *, options: bytes = b"", fragment: int = 0) -> bytes:
    words = 5 + len(options) // 4
    length = 4 * words + len(payload)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, length, 1, fragment, 64, protocol, 0)
    return ethernet(0x0800, head + bytes(8) + options + payload)


def ipv6(next_header: int, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 255)
    return ethernet(0x86DD, head + bytes(32) + payload)


def ports(source: int, destination: int) -> bytes:
    """The head of a UDP or TCP segment, some data behind it."""
    return struct.pack("!HHHH", source, destination, 32, 0) + bytes(24)


def icmpv6(kind: int) -> bytes:
    return ipv6(ICMPV6, bytes((kind, 0, 0, 0)) + bytes(20))


@pytest.mark.parametrize(
    "frame",
    [
        ipv4(UDP, ports(68, 67)),
        ipv4(UDP, ports(67, 68)),
        ipv4(UDP, ports(67, 67)),
        ipv4(UDP, ports(68, 67), options=bytes(4)),
        ipv4(UDP, ports(68, 67), options=bytes(40)),
        ipv4(UDP, ports(68, 67), fragment=MORE_FRAGMENTS),
        ipv4(UDP, ports(68, 67), fragment=0x4000),
        ipv6(UDP, ports(546, 547)),
        ipv6(UDP, ports(547, 546)),
        icmpv6(133),
        icmpv6(134),
    ],
    ids=[
        *("request", "reply", "relayed", "options", "most options", "first fragment"),
        *("don't fragment", "v6 request", "v6 reply", "router solicitation"),
        "router advertisement",
    ],
)
def test_dhcp_and_router_messages_stop_here(frame: bytes) -> None:
    assert bpf.run(PROGRAM, frame) == DROP


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(0x0806, bytes(28)),
        ethernet(0x88CC, bytes(60)),
        ethernet(0x8100, struct.pack("!HH", 5, 0x0800) + bytes(40)),
        ipv4(UDP, ports(68, 53)),
        ipv4(UDP, ports(67, 1067)),
        ipv4(TCP, ports(40000, 67)),
        ipv4(ICMP, ports(68, 67)),
        ipv4(UDP, ports(68, 67), fragment=1),
        ipv4(UDP, ports(68, 67), fragment=MORE_FRAGMENTS | 185),
        ipv4(UDP, ports(68, 53), options=struct.pack("!HH", 68, 67)),
        ipv6(UDP, ports(546, 53)),
        ipv6(TCP, ports(40000, 547)),
        ipv6(UDP, ports(68, 67)),
        *(icmpv6(kind) for kind in (128, 129, 132, 135, 136, 137)),
        ipv4(ICMPV6, bytes((134,)) + bytes(40)),
    ],
    ids=[
        *("arp", "lldp", "vlan", "from port 68", "from port 67", "tcp", "icmp", "later fragment"),
        *("middle fragment", "ports in options", "v6 from 546", "v6 tcp", "dhcpv4's ports on v6"),
        *("ping", "pong", "listener done", "neighbour solicitation", "neighbour advertisement"),
        *("redirect", "icmpv6's number in ipv4"),
    ],
)
def test_everything_else_goes_its_way(frame: bytes) -> None:
    assert bpf.run(PROGRAM, frame) == PASS


@given(st.integers(0, 65535), st.integers(0, 10), st.sampled_from((UDP, TCP)))
@example(67, 0, UDP)
@example(68, 10, UDP)
def test_ipv4_by_protocol_and_destination_port_alone(
    port: int, option_words: int, protocol: int
) -> None:
    frame = ipv4(protocol, ports(40000, port), options=bytes(4 * option_words))
    expected = DROP if protocol == UDP and port in (67, 68) else PASS
    assert bpf.run(PROGRAM, frame) == expected


@given(st.binary(max_size=80))
@example(b"")
@example(ipv4(UDP, b""))
@example(ipv6(UDP, b""))
def test_any_frame_is_decided(frame: bytes) -> None:
    """A frame cut short is accepted as it is, like one that no filter looked at."""
    assert bpf.run(PROGRAM, frame) in (PASS, DROP, TOO_SHORT)


def test_the_program_is_one_the_kernel_takes() -> None:
    """Whole instructions, jumps that stay inside, a return at the end; see the kernel's checker."""
    instructions = list(struct.iter_unpack("=HBBI", PROGRAM))
    assert len(PROGRAM) == 8 * len(instructions) <= 8 * 4096
    for at, (code, true, false, _) in enumerate(instructions):
        if code in (0x15, 0x45):
            assert at + 1 + max(true, false) < len(instructions)
        else:
            assert true == false == 0
    assert instructions[-1][0] == 0x06
