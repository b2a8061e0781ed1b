"""Attach classic BPF programs to links as filters under clsact (tc-bpf(8)).

A cls_bpf filter needs no action module, unlike the other tc filters, so it works on every kernel
that has cls_bpf.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping

from vmnet.net import links, rtnl
from vmnet.net.filters import cbpf
from vmnet.net.netlink import attribute
from vmnet.net.packet_socket import ETH_P_ALL

_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_NEWTFILTER = 36, 37, 44
_CLSACT, INGRESS, EGRESS = 0xFFFFFFF1, 0xFFFFFFF2, 0xFFFFFFF3
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_OPS_LEN, _TCA_BPF_OPS, _TCA_BPF_FLAGS, _ACT_DIRECT = 4, 5, 8, 1
_TCMSG = struct.Struct("=BxxxiIII")
_NEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
UNSPEC, SHOT = 0xFFFFFFFF, 2  # TC_ACT_UNSPEC: no decision, the frame passes; TC_ACT_SHOT: drop
_NO_SUCH_FILTER = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL)


def attach(kernel: rtnl.Rtnl, link: str, programs: Mapping[int, cbpf.Program]) -> bool:
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


def _attach(kernel: rtnl.Rtnl, index: int, programs: Mapping[int, cbpf.Program]) -> None:
    body = _TCMSG.pack(socket.AF_UNSPEC, index, 0xFFFF0000, _CLSACT, 0)
    kernel.send_body(_RTM_NEWQDISC, _NEW, body + attribute(_TCA_KIND, b"clsact\0"))
    for direction, program in programs.items():
        info = 1 << 16 | socket.htons(ETH_P_ALL)  # priority 1, every protocol
        body = _TCMSG.pack(socket.AF_UNSPEC, index, 0, direction, info)
        attributes = attribute(_TCA_KIND, b"bpf\0") + attribute(_TCA_OPTIONS, _options(program))
        kernel.send_body(_RTM_NEWTFILTER, _NEW, body + attributes)


def _options(program: cbpf.Program) -> bytes:
    assembled = cbpf.assemble(program)
    return (
        attribute(_TCA_BPF_OPS_LEN, struct.pack("=H", len(assembled) // cbpf.INSTRUCTION.size))
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
