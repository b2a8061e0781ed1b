"""Assemble classic BPF programs (bpf(4)). Pure functions.

Programs that run as long as the VM use this module too, so it imports as little as
:mod:`vmnet.net.packets`.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

# An instruction (struct sock_filter): code, operand, and the jumps if true and if false.
# A jump is a label of the program or a number of instructions to skip.
Instruction = tuple[int, int, str | int, str | int]
Program: TypeAlias = "Mapping[str, Sequence[Instruction]]"  # by label
# Load into A a word, half word or byte (absolute, then relative to X), or the frame's length.
LD, LDH, LDB, LD_X, LDH_X, LDB_X, LD_LENGTH = 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80
LDX, LDX_HEADER = 0x01, 0xB1  # X = the operand; X = length of the IPv4 header
LDM, ST = 0x60, 0x02  # load A from scratch memory; store A there
AND, LSH, ADD, ADD_X, SUB_X, TAX, TXA = 0x54, 0x64, 0x04, 0x0C, 0x1C, 0x07, 0x87
JEQ, JGE, JSET, JUMP, RET = 0x15, 0x35, 0x45, 0x05, 0x06
# Offsets at which a program reads the kernel's data about the frame (SKF_AD_OFF + SKF_AD_…): its
# EtherType, its type (PACKET_…), and the VLAN tag that the kernel has removed from it.
PROTOCOL, PACKET_TYPE, VLAN_TAG, VLAN_TAG_PRESENT = 0xFFFFF000, 0xFFFFF004, 0xFFFFF02C, 0xFFFFF030

INSTRUCTION = struct.Struct("=HBBI")
"""struct sock_filter: code, jumps if true and if false, operand."""


def assemble(program: Program) -> bytes:
    """Return the program's instructions as bytes, with its labels resolved.

    A condition can skip at most 255 instructions. JUMP uses its label for true, without this limit.
    """
    labels, count = {}, 0
    for label, instructions in program.items():
        labels[label] = count
        count += len(instructions)
    flat = [instruction for instructions in program.values() for instruction in instructions]
    return b"".join(_encode(labels, at, instruction) for at, instruction in enumerate(flat))


def _encode(labels: Mapping[str, int], at: int, instruction: Instruction) -> bytes:
    code, operand, *jumps = instruction
    true, false = (to if isinstance(to, int) else labels[to] - at - 1 for to in jumps)
    if code == JUMP:
        return INSTRUCTION.pack(code, 0, 0, true)
    return INSTRUCTION.pack(code, true, false, operand)
