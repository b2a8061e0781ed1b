"""Containment: DHCP and router messages stay on this side of the uplinks.

While we answer the guest's DHCP ourselves, its requests must not leave, where another server might
answer first, and strangers' requests must not reach our server. Each uplink gets a classic BPF
program in both directions: the one kind of tc filter that needs no action module of its own, so it
works on every kernel with cls_bpf (see tc-bpf(8)).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping, Sequence

from vmnet.net import links, rtnl
from vmnet.net.attributes import attribute

_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_NEWTFILTER = 36, 37, 44
_CLSACT, _INGRESS, _EGRESS = 0xFFFFFFF1, 0xFFFFFFF2, 0xFFFFFFF3
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_OPS_LEN, _TCA_BPF_OPS, _TCA_BPF_FLAGS, _ACT_DIRECT = 4, 5, 8, 1
_TCMSG = struct.Struct("=BxxxiIII")
_NEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
_ETH_P_ALL = 3

# An instruction of classic BPF (struct sock_filter, bpf(4)): code, operand, and where to go on true
# and on false, as names of places in the program; empty is the next instruction.
_Instruction = tuple[int, int, str, str]
_LDH, _LDB, _LDH_X, _LDX_HEADER = 0x28, 0x30, 0x48, 0xB1  # load into A; X = IPv4 header's length
_JEQ, _JSET, _RET = 0x15, 0x45, 0x06
_SOCK_FILTER = struct.Struct("=HBBI")

_MESSAGES: Mapping[str, Sequence[_Instruction]] = {
    "start": [
        (_LDH, 12, "", ""),  # EtherType
        (_JEQ, 0x0800, "ipv4", ""),
        (_JEQ, 0x86DD, "ipv6", "pass"),
    ],
    "ipv4": [
        (_LDB, 23, "", ""),  # protocol
        (_JEQ, 17, "", "pass"),
        (_LDH, 20, "", ""),  # a later fragment has no ports
        (_JSET, 0x1FFF, "pass", ""),
        (_LDX_HEADER, 14, "", ""),
        (_LDH_X, 16, "", ""),  # destination port: DHCP's server or client
        (_JEQ, 67, "drop", ""),
        (_JEQ, 68, "drop", "pass"),
    ],
    "ipv6": [
        (_LDB, 20, "", ""),  # next header
        (_JEQ, 58, "icmpv6", ""),
        (_JEQ, 17, "", "pass"),
        (_LDH, 56, "", ""),  # destination port: DHCPv6's client or server
        (_JEQ, 546, "drop", ""),
        (_JEQ, 547, "drop", "pass"),
    ],
    "icmpv6": [
        (_LDB, 54, "", ""),  # type: router solicitation or advertisement
        (_JEQ, 133, "drop", ""),
        (_JEQ, 134, "drop", "pass"),
    ],
    "pass": [(_RET, 0xFFFFFFFF, "", "")],  # TC_ACT_UNSPEC: as if there were no filter
    "drop": [(_RET, 2, "", "")],  # TC_ACT_SHOT
}


def contain(kernel: rtnl.Rtnl, uplink: str) -> None:
    """Filter an uplink in both directions.

    :raises vmnet.net.rtnl.RtnlError: this kernel has no clsact or cls_bpf
    """
    index = links.index(uplink)
    body = _TCMSG.pack(socket.AF_UNSPEC, index, 0xFFFF0000, _CLSACT, 0)
    kernel.send_body(_RTM_NEWQDISC, _NEW, body + attribute(_TCA_KIND, b"clsact\0"))
    program = assemble(_MESSAGES)
    options = (
        attribute(_TCA_BPF_OPS_LEN, struct.pack("=H", len(program) // _SOCK_FILTER.size))
        + attribute(_TCA_BPF_OPS, program)
        + attribute(_TCA_BPF_FLAGS, struct.pack("=I", _ACT_DIRECT))
    )
    for direction in (_INGRESS, _EGRESS):
        info = 1 << 16 | socket.htons(_ETH_P_ALL)  # priority 1, every protocol
        body = _TCMSG.pack(socket.AF_UNSPEC, index, 0, direction, info)
        attributes = attribute(_TCA_KIND, b"bpf\0") + attribute(_TCA_OPTIONS, options)
        kernel.send_body(_RTM_NEWTFILTER, _NEW, body + attributes)


def remove(kernel: rtnl.Rtnl, uplink: str) -> None:
    """Take the filter away again; there may be none.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    body = _TCMSG.pack(socket.AF_UNSPEC, links.index(uplink), 0xFFFF0000, _CLSACT, 0)
    try:
        kernel.send_body(_RTM_DELQDISC, 0, body + attribute(_TCA_KIND, b"clsact\0"))
    except rtnl.RtnlError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # EINVAL: no such qdisc there
            raise


def assemble(program: Mapping[str, Sequence[_Instruction]]) -> bytes:
    """The program's instructions, its jumps resolved."""
    places, count = {}, 0
    for name, instructions in program.items():
        places[name] = count
        count += len(instructions)
    flat = [one for instructions in program.values() for one in instructions]
    return b"".join(
        _SOCK_FILTER.pack(code, *(_jump(places, at, to) for to in (true, false)), operand)
        for at, (code, operand, true, false) in enumerate(flat)
    )


def _jump(places: Mapping[str, int], at: int, to: str) -> int:
    """How many instructions to skip."""
    return places[to] - at - 1 if to else 0
