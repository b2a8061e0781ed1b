"""Assemble classic BPF programs, and attach them to links as filters under clsact (tc-bpf(8)).

A cls_bpf filter needs no action module, unlike the other tc filters, so it works on every kernel
that has cls_bpf.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping, Sequence

from vmnet.net import links, rtnl
from vmnet.net.attributes import attribute

_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_NEWTFILTER = 36, 37, 44
_CLSACT, INGRESS, EGRESS = 0xFFFFFFF1, 0xFFFFFFF2, 0xFFFFFFF3
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_OPS_LEN, _TCA_BPF_OPS, _TCA_BPF_FLAGS, _ACT_DIRECT = 4, 5, 8, 1
_TCMSG = struct.Struct("=BxxxiIII")
_NEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
_ETH_P_ALL = 3
_NO_SUCH_FILTER = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL)

# An instruction (struct sock_filter, bpf(4)): code, operand, and the jumps if true and if false.
# A jump is a label of the program or a number of instructions to skip.
Instruction = tuple[int, int, str | int, str | int]
Program = Mapping[str, Sequence[Instruction]]  # by label
# Load into A a word, half word or byte (absolute, then relative to X), or the frame's length.
LD, LDH, LDB, LD_X, LDH_X, LDB_X, LD_LENGTH = 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80
LDX, LDX_HEADER = 0x01, 0xB1  # X = the operand; X = length of the IPv4 header
LDM, ST = 0x60, 0x02  # load A from scratch memory; store A there
AND, LSH, ADD, ADD_X, SUB_X, TAX, TXA = 0x54, 0x64, 0x04, 0x0C, 0x1C, 0x07, 0x87
JEQ, JGE, JSET, JUMP, RET = 0x15, 0x35, 0x45, 0x05, 0x06
# Offsets at which a program reads the VLAN tag that the kernel has removed from the frame
# (SKF_AD_OFF + SKF_AD_VLAN_TAG, SKF_AD_VLAN_TAG_PRESENT).
VLAN_TAG, VLAN_TAG_PRESENT = 0xFFFFF02C, 0xFFFFF030
UNSPEC, SHOT = 0xFFFFFFFF, 2  # TC_ACT_UNSPEC: no decision, the frame passes; TC_ACT_SHOT: drop

_SOCK_FILTER = struct.Struct("=HBBI")


def attach(kernel: rtnl.Rtnl, link: str, programs: Mapping[int, Program]) -> bool:
    """Filter a link that has no filter yet; return False if the kernel lacks clsact or cls_bpf.

    :param programs: by direction, INGRESS or EGRESS
    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    try:
        _attach(kernel, links.index(link), programs)
    except rtnl.RtnlError as error:
        if error.errno not in _NO_SUCH_FILTER:
            raise
        return False
    return True


def _attach(kernel: rtnl.Rtnl, index: int, programs: Mapping[int, Program]) -> None:
    body = _TCMSG.pack(socket.AF_UNSPEC, index, 0xFFFF0000, _CLSACT, 0)
    kernel.send_body(_RTM_NEWQDISC, _NEW, body + attribute(_TCA_KIND, b"clsact\0"))
    for direction, program in programs.items():
        info = 1 << 16 | socket.htons(_ETH_P_ALL)  # priority 1, every protocol
        body = _TCMSG.pack(socket.AF_UNSPEC, index, 0, direction, info)
        attributes = attribute(_TCA_KIND, b"bpf\0") + attribute(_TCA_OPTIONS, _options(program))
        kernel.send_body(_RTM_NEWTFILTER, _NEW, body + attributes)


def _options(program: Program) -> bytes:
    assembled = assemble(program)
    return (
        attribute(_TCA_BPF_OPS_LEN, struct.pack("=H", len(assembled) // _SOCK_FILTER.size))
        + attribute(_TCA_BPF_OPS, assembled)
        + attribute(_TCA_BPF_FLAGS, struct.pack("=I", _ACT_DIRECT))
    )


def detach(kernel: rtnl.Rtnl, link: str) -> None:
    """Remove the filters of a link, if there are any.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    body = _TCMSG.pack(socket.AF_UNSPEC, links.index(link), 0xFFFF0000, _CLSACT, 0)
    try:
        kernel.send_body(_RTM_DELQDISC, 0, body + attribute(_TCA_KIND, b"clsact\0"))
    except rtnl.RtnlError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # EINVAL: the link has no clsact
            raise


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
        return _SOCK_FILTER.pack(code, 0, 0, true)
    return _SOCK_FILTER.pack(code, true, false, operand)
