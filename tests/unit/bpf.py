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
                case 0x48:  # ldh [x + k]
                    (accumulator,) = struct.unpack_from("!H", packet, index + operand)
                case 0x50:  # ldb [x + k]
                    accumulator = packet[index + operand]
                case 0xB1:  # ldxb 4 * ([k] & 0xf)
                    index = 4 * (packet[operand] & 0xF)
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
