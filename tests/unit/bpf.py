"""A classic BPF machine, as small as the programs that it runs (bpf(4))."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType


def run(program: bytes, packet: bytes, beside: Mapping[int, int] = MappingProxyType({})) -> int:
    """What the program returns for a packet; 0 where it reads beyond the packet's end.

    :param beside: what the kernel knows of it beside its bytes, by offset (SKF_AD_OFF)
    """
    instructions: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", program))
    accumulator = index = at = 0
    scratch: dict[int, int] = {}
    try:
        for _ in instructions:  # jumps only go forward: each runs at most once
            code, true, false, operand = instructions[at]
            at += 1
            match code:
                case 0x20 if operand >= 0xFFFFF000:  # ld, what the kernel knows beside the bytes
                    accumulator = beside.get(operand, 0)
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
                case 0x60:  # ld M[k]; the kernel refuses a program that reads what it never wrote
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
    """Refuse what the kernel would: see bpf_check_classic() in net/core/filter.c.

    Instructions are whole, jumps stay inside, the last one returns, and scratch memory is written
    on every way to where it is read.
    """
    instructions: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", program))
    assert len(program) == 8 * len(instructions) <= 8 * 4096
    assert instructions[-1][0] == 0x06
    # By instruction. All of it where no way leads.
    written = [set(), *(set(range(16)) for _ in instructions[1:])]

    def reach(place: int, words: set[int]) -> None:
        written[place] &= words

    for at, (code, true, false, operand) in enumerate(instructions):
        here = written[at]
        match code:
            case 0x05:
                assert true == false == 0
                reach(at + 1 + operand, here)
                continue
            case 0x15 | 0x35 | 0x45:
                reach(at + 1 + true, here)
                reach(at + 1 + false, here)
                continue
            case 0x06:
                continue
            case 0x60:
                assert operand in here
            case 0x02:
                here = here | {operand}
        assert true == false == 0
        reach(at + 1, here)
