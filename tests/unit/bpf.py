"""A classic BPF interpreter for the instructions that vmnet's filters use (bpf(4))."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType


def run(program: bytes, packet: bytes, metadata: Mapping[int, int] = MappingProxyType({})) -> int:
    """Return the program's result for a packet, 0 if it reads beyond the packet's end.

    :param metadata: the kernel's data about the packet, by offset (SKF_AD_OFF)
    """
    instructions: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", program))
    accumulator = index = at = 0
    scratch: dict[int, int] = {}
    try:
        for _ in instructions:  # jumps go forward, so each instruction runs at most once
            code, true, false, operand = instructions[at]
            at += 1
            match code:
                case 0x20 if operand >= 0xFFFFF000:  # ld metadata
                    accumulator = metadata.get(operand, 0)
                case 0x20:  # ld [k]
                    (accumulator,) = struct.unpack_from("!I", packet, operand)
                case 0x80:  # ld len
                    accumulator = len(packet)
                case 0x28:  # ldh [k]
                    (accumulator,) = struct.unpack_from("!H", packet, operand)
                case 0x30:  # ldb [k]
                    accumulator = packet[operand]
                case 0x40:  # ld [x + k]
                    (accumulator,) = struct.unpack_from("!I", packet, index + operand)
                case 0x48:  # ldh [x + k]
                    (accumulator,) = struct.unpack_from("!H", packet, index + operand)
                case 0x50:  # ldb [x + k]
                    accumulator = packet[index + operand]
                case 0xB1:  # ldxb 4 * ([k] & 0xf)
                    index = 4 * (packet[operand] & 0xF)
                case 0x01:  # ldx #k
                    index = operand
                case 0x60:  # ld M[k]; see check() for words that were not written
                    accumulator = scratch[operand]
                case 0x02:  # st M[k]
                    scratch[operand] = accumulator
                case 0x07:  # tax
                    index = accumulator
                case 0x87:  # txa
                    accumulator = index
                case 0x04:  # add
                    accumulator = (accumulator + operand) & 0xFFFFFFFF
                case 0x0C:  # add x
                    accumulator = (accumulator + index) & 0xFFFFFFFF
                case 0x1C:  # sub x
                    accumulator = (accumulator - index) & 0xFFFFFFFF
                case 0x64:  # lsh
                    accumulator = (accumulator << operand) & 0xFFFFFFFF
                case 0x15:  # jeq
                    at += true if accumulator == operand else false
                case 0x35:  # jge
                    at += true if accumulator >= operand else false
                case 0x05:  # ja
                    at += operand
                case 0x54:  # and
                    accumulator &= operand
                case 0x45:  # jset
                    at += true if accumulator & operand else false
                case 0x06:  # ret
                    return operand
                case _:
                    raise NotImplementedError(hex(code))
    except (IndexError, struct.error):
        return 0
    raise AssertionError("the program runs off its end")


def check(program: bytes) -> None:
    """Reject the programs that the kernel rejects; see bpf_check_classic() in net/core/filter.c.

    Instructions must be complete, jumps must stay inside the program, the last instruction must
    return, and each word of scratch memory must be written on every path to its reading.
    """
    instructions: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", program))
    assert len(program) == 8 * len(instructions) <= 8 * 4096
    assert instructions[-1][0] == 0x06
    # The words written before each instruction: all of them, until a path to it is found.
    written = [set(), *(set(range(16)) for _ in instructions[1:])]

    def reach(index: int, words: set[int]) -> None:
        written[index] &= words

    for at, (code, true, false, operand) in enumerate(instructions):
        words = written[at]
        match code:
            case 0x05:
                assert true == false == 0
                reach(at + 1 + operand, words)
                continue
            case 0x15 | 0x35 | 0x45:
                reach(at + 1 + true, words)
                reach(at + 1 + false, words)
                continue
            case 0x06:
                continue
            case 0x60:
                assert operand in words
            case 0x02:
                words = words | {operand}
        assert true == false == 0
        reach(at + 1, words)
