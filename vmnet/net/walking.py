"""Walk to what a frame carries: past VLAN tags and IPv6 extension headers (classic BPF).

Classic BPF has no loops, so each tag and header has its own copy of the step. X counts the bytes
that lie before the header in question, beyond those of an untagged frame without extensions: its
first byte is at 14 + X. Frames with more tags or headers than any sender has reason for are
dropped, since nothing more is known of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.net.cbpf import (
    ADD,
    ADD_X,
    AND,
    JEQ,
    JGE,
    JSET,
    JUMP,
    LD_LENGTH,
    LDB_X,
    LDH_X,
    LDM,
    LDX,
    LSH,
    ST,
    SUB_X,
    TAX,
    TXA,
    Instruction,
    Program,
)
from vmnet.net.matching import (
    DESTINATION,
    DROP,
    FRAGMENT,
    HOP_BY_HOP,
    ROUTING,
    TAGS,
    go,
)

# RFC 8200 section 4.1 has six extension headers at most before the payload, ESP aside.
_TAGS, _HEADERS = 3, 8
_NEXT, _END, _PACKET_END = 0, 1, 2  # words of BPF's scratch memory
_FAR = 1 << 16  # keeps a difference positive: no offset is as high
_FRAGMENT_OFFSET = 0xFFF8


def tags(place: str, other_vlan: str | None) -> Program:
    """Go to a place with the EtherType in A and X behind the tags in the frame, up to three.

    A host takes priority tags (VLAN 0) off, however many there are, and reads on.

    :param other_vlan: where a frame of a VLAN other than 0 goes; None to look into it as well
    """
    steps: dict[str, list[Instruction]] = {}
    for number in range(_TAGS + 1):
        tagged = f"tag {number}"
        steps[f"frame {number}"] = [
            *((LDX, 0, 0, 0),) * (number == 0),
            (LDH_X, 12, 0, 0),
            *(step for tag in TAGS for step in go(tag, tagged if number < _TAGS else "drop")),
            (JUMP, 0, place, 0),
        ]
        if number < _TAGS:
            steps[tagged] = [*_vlan(other_vlan), *_advance(4)]
    return steps


def _vlan(other: str | None) -> Iterator[Instruction]:
    if other is not None:
        yield from ((LDH_X, 14, 0, 0), (AND, 0xFFF, 0, 0))
        yield from ((JEQ, 0, 1, 0), (JUMP, 0, other, 0))


def udp4(place: str, other: str) -> tuple[Instruction, ...]:
    """Go to a place with the destination port of a UDP datagram over IPv4 in A.

    A later fragment has no ports: the first decides, which the rest is of no use without.
    """
    return (
        *((LDB_X, 23, 0, 0), (JEQ, 17, 1, 0), (JUMP, 0, other, 0)),
        *((LDH_X, 20, 0, 0), (JSET, 0x1FFF, 0, 1), (JUMP, 0, other, 0)),
        *((LDB_X, 14, 0, 0), (AND, 15, 0, 0), (LSH, 2, 0, 0), (ADD_X, 0, 0, 0), (TAX, 0, 0, 0)),
        *((LDH_X, 16, 0, 0), (JUMP, 0, place, 0)),
    )


def ipv6(payloads: dict[int, str], other: str) -> Program:
    """From ``ipv6`` on, walk the packet's headers up to its payload.

    A first fragment in which the payload's header is not (RFC 7112), or a packet that ends within
    its headers, is dropped.

    :param payloads: where to go, X at that header, of which eight bytes are there, by its number
    :param other: where the rest goes, later fragments included
    """
    steps: dict[str, list[Instruction]] = {
        "ipv6": [
            *((LD_LENGTH, 0, 0, 0), (ST, _END, 0, 0)),
            *((LDH_X, 18, 0, 0), (ADD_X, 0, 0, 0), (ADD, 14 + 40, 0, 0), (ST, _PACKET_END, 0, 0)),
            *((LDB_X, 20, 0, 0), (ST, _NEXT, 0, 0)),
            *_advance(40),
        ]
    }
    for number in range(_HEADERS):
        options, fragment = f"options {number}", f"fragment {number}"
        steps[f"header {number}"] = [
            (LDM, _NEXT, 0, 0),
            *(one for kind in (HOP_BY_HOP, ROUTING, DESTINATION) for one in go(kind, options)),
            *go(FRAGMENT, fragment),
            *(one for kind, place in payloads.items() for one in go(kind, f"whole {place}")),
            (JUMP, 0, other, 0),
        ]
        steps[fragment] = [
            *holds(8),
            *((LDH_X, 16, 0, 0), (JSET, _FRAGMENT_OFFSET, 0, 1), (JUMP, 0, other, 0)),
            # Its end is the packet's, not the frame's, behind which a host doesn't look either.
            *((LDM, _PACKET_END, 0, 0), (ST, _END, 0, 0)),
            *((LDB_X, 14, 0, 0), (ST, _NEXT, 0, 0)),
            *_advance(8),
            (JUMP, 0, f"header {number + 1}", 0),
        ]
        steps[options] = [
            *holds(8),
            *((LDB_X, 14, 0, 0), (ST, _NEXT, 0, 0)),
            *((LDB_X, 15, 0, 0), (ADD, 1, 0, 0), (LSH, 3, 0, 0), (ADD_X, 0, 0, 0), (TAX, 0, 0, 0)),
        ]
    steps[f"header {_HEADERS}"] = [DROP]
    for place in payloads.values():
        steps[f"whole {place}"] = [*holds(8), (JUMP, 0, place, 0)]
    return steps


def holds(length: int) -> tuple[Instruction, ...]:
    """Drop the packet if it ends before so many bytes of the header at X."""
    return (
        *((LDM, _END, 0, 0), (ADD, _FAR, 0, 0), (SUB_X, 0, 0, 0)),
        *((JGE, _FAR + 14 + length, 1, 0), DROP),
    )


def _advance(length: int) -> tuple[Instruction, ...]:
    return (TXA, 0, 0, 0), (ADD, length, 0, 0), (TAX, 0, 0, 0)
