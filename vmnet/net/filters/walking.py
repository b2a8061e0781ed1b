"""Classic BPF that skips VLAN tags and IPv6 extension headers to find a frame's payload.

Classic BPF has no loops, so each tag and header has its own copy of the step. X is the current
header's offset from the end of an untagged Ethernet header: its first byte is at 14 + X. A frame
with more tags or headers than legitimate senders use is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.net.filters.cbpf import (
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
from vmnet.net.filters.matching import (
    DESTINATION,
    DROP,
    FRAGMENT,
    HOP_BY_HOP,
    ROUTING,
    TAGS,
    jump_if,
)

# RFC 8200 section 4.1 allows at most six extension headers before the payload, apart from ESP.
_MAX_TAGS, _MAX_HEADERS = 3, 8
_NEXT, _END, _PACKET_END = 0, 1, 2  # words of BPF's scratch memory
_BIAS = 1 << 16  # keeps a difference positive; larger than any offset
_FRAGMENT_OFFSET = 0xFFF8


def tags(label: str, other_vlan: str | None) -> Program:
    """Skip up to three VLAN tags, and jump with the EtherType in A and the tags' length in X.

    A host skips any number of priority tags (VLAN 0).

    :param other_vlan: the label for frames of a VLAN other than 0; None skips these tags as well
    """
    steps: dict[str, list[Instruction]] = {}
    for number in range(_MAX_TAGS + 1):
        tagged = f"tag {number}"
        steps[f"frame {number}"] = [
            *((LDX, 0, 0, 0),) * (number == 0),
            (LDH_X, 12, 0, 0),
            *(
                step
                for tag in TAGS
                for step in jump_if(tag, tagged if number < _MAX_TAGS else "drop")
            ),
            (JUMP, 0, label, 0),
        ]
        if number < _MAX_TAGS:
            steps[tagged] = [*_vlan(other_vlan), *_advance(4)]
    return steps


def _vlan(label: str | None) -> Iterator[Instruction]:
    if label is not None:
        yield from ((LDH_X, 14, 0, 0), (AND, 0xFFF, 0, 0))
        yield from ((JEQ, 0, 1, 0), (JUMP, 0, label, 0))


def udp4(label: str, other: str) -> tuple[Instruction, ...]:
    """Jump with the destination port of a UDP datagram over IPv4 in A.

    :param other: the label for other packets and for later fragments, which have no ports and are
        useless without the first fragment
    """
    return (
        *((LDB_X, 23, 0, 0), (JEQ, 17, 1, 0), (JUMP, 0, other, 0)),
        *((LDH_X, 20, 0, 0), (JSET, 0x1FFF, 0, 1), (JUMP, 0, other, 0)),
        *((LDB_X, 14, 0, 0), (AND, 15, 0, 0), (LSH, 2, 0, 0), (ADD_X, 0, 0, 0), (TAX, 0, 0, 0)),
        *((LDH_X, 16, 0, 0), (JUMP, 0, label, 0)),
    )


def ipv6(payloads: dict[int, str], other: str) -> Program:
    """Skip a packet's headers, from the label ``ipv6`` on, up to its payload.

    Drop a packet that ends within its headers, and a first fragment that does not contain the
    payload's header (RFC 7112).

    :param payloads: labels by next header number; at the label, X is at the payload's header, of
        which the packet contains at least eight bytes
    :param other: the label for other payloads and for later fragments
    """
    steps: dict[str, list[Instruction]] = {
        "ipv6": [
            *((LD_LENGTH, 0, 0, 0), (ST, _END, 0, 0)),
            *((LDH_X, 18, 0, 0), (ADD_X, 0, 0, 0), (ADD, 14 + 40, 0, 0), (ST, _PACKET_END, 0, 0)),
            *((LDB_X, 20, 0, 0), (ST, _NEXT, 0, 0)),
            *_advance(40),
        ]
    }
    for number in range(_MAX_HEADERS):
        options, fragment = f"options {number}", f"fragment {number}"
        steps[f"header {number}"] = [
            (LDM, _NEXT, 0, 0),
            *(
                step
                for kind in (HOP_BY_HOP, ROUTING, DESTINATION)
                for step in jump_if(kind, options)
            ),
            *jump_if(FRAGMENT, fragment),
            *(step for kind, label in payloads.items() for step in jump_if(kind, f"whole {label}")),
            (JUMP, 0, other, 0),
        ]
        steps[fragment] = [
            *require_bytes(8),
            *((LDH_X, 16, 0, 0), (JSET, _FRAGMENT_OFFSET, 0, 1), (JUMP, 0, other, 0)),
            # A fragment ends with the packet, not with the frame: a host ignores padding.
            *((LDM, _PACKET_END, 0, 0), (ST, _END, 0, 0)),
            *((LDB_X, 14, 0, 0), (ST, _NEXT, 0, 0)),
            *_advance(8),
            (JUMP, 0, f"header {number + 1}", 0),
        ]
        steps[options] = [
            *require_bytes(8),
            *((LDB_X, 14, 0, 0), (ST, _NEXT, 0, 0)),
            *((LDB_X, 15, 0, 0), (ADD, 1, 0, 0), (LSH, 3, 0, 0), (ADD_X, 0, 0, 0), (TAX, 0, 0, 0)),
        ]
    steps[f"header {_MAX_HEADERS}"] = [DROP]
    for label in payloads.values():
        steps[f"whole {label}"] = [*require_bytes(8), (JUMP, 0, label, 0)]
    return steps


def require_bytes(length: int) -> tuple[Instruction, ...]:
    """Drop the packet if it contains fewer bytes of the header at X."""
    return (
        *((LDM, _END, 0, 0), (ADD, _BIAS, 0, 0), (SUB_X, 0, 0, 0)),
        *((JGE, _BIAS + 14 + length, 1, 0), DROP),
    )


def _advance(length: int) -> tuple[Instruction, ...]:
    return (TXA, 0, 0, 0), (ADD, length, 0, 0), (TAX, 0, 0, 0)
