"""Attach classic BPF programs to links as filters under clsact (tc-bpf(8)).

A cls_bpf filter needs no action module, unlike the other tc filters, so it works on every kernel
that has cls_bpf. Only a redirection needs one: act_mirred (tc-mirred(8)).

Each direction of a link has a chain of steps. A program that returns UNSPEC leaves the frame to the
next step.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from vmnet.model.base import frozen
from vmnet.net import links, rtnl
from vmnet.net.filters import cbpf
from vmnet.net.netlink import attribute
from vmnet.net.packet_socket import ETH_P_ALL

_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_NEWTFILTER, _RTM_NEWACTION = 36, 37, 44, 48
_CLSACT, INGRESS, EGRESS = 0xFFFFFFF1, 0xFFFFFFF2, 0xFFFFFFF3
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_ACT, _TCA_BPF_OPS_LEN, _TCA_BPF_OPS, _TCA_BPF_FLAGS, _ACT_DIRECT = 1, 4, 5, 8, 1
_TCA_ACT_KIND, _TCA_ACT_OPTIONS, _TCA_MIRRED_PARMS = 1, 2, 2
_EGRESS_REDIRECT, _EGRESS_MIRROR = 1, 2
_QDISC, _CLASSIFIER, _ACTION = b"clsact\0", b"bpf\0", b"mirred\0"  # the kernel's names
_TCA_ACT_TAB = 1
_TCMSG = struct.Struct("=BxxxiIII")
_TC_MIRRED = struct.Struct("=IIiiiiI")  # index, capab, action, refcnt, bindcnt, eaction, ifindex
_NEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
# Results of a program: TC_ACT_UNSPEC: no decision, the next step decides; TC_ACT_OK: pass the
# frame; TC_ACT_SHOT: drop it.
UNSPEC, OK, SHOT = 0xFFFFFFFF, 0, 2
SELECTED = 0xFFFFFFFF
_STOLEN = 4
_MATCH_ALL: cbpf.Program = {"start": [(cbpf.RET, SELECTED, 0, 0)]}
_LACKING = (errno.ENOENT, errno.EOPNOTSUPP)
_NO_SUCH_FILTER = (*_LACKING, errno.EINVAL)


@frozen
class Redirection:
    """The last step of a chain: send every frame by another link.

    :param link: the link's name
    """

    link: str


@frozen
class Copy:
    """A step for frames that a program selects: send a copy by another link, and pass the frame.

    :param program: returns ``SELECTED`` for these frames, and 0 for those of the next step
    :param link: the link's name
    """

    program: cbpf.Program
    link: str


Step: TypeAlias = "cbpf.Program | Redirection | Copy"


class LackingModule(rtnl.RtnlError):
    """The kernel lacks a module, whose name is ``strerror``."""


def attach(kernel: rtnl.Rtnl, link: str, chains: Mapping[int, Sequence[Step]]) -> bool:
    """Filter a link that has no filter yet; return False if the kernel lacks clsact or cls_bpf.

    :param chains: by direction, INGRESS or EGRESS
    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    try:
        require(kernel, link, chains)
    except rtnl.RtnlError as error:
        if error.errno not in _NO_SUCH_FILTER:
            raise
        return False
    return True


def require(kernel: rtnl.Rtnl, link: str, chains: Mapping[int, Sequence[Step]]) -> None:
    """Filter a link that has no filter yet.

    :param chains: see :func:`attach`
    :raises LackingModule: the kernel lacks a module
    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    index = links.index(link)
    body = _TCMSG.pack(socket.AF_UNSPEC, index, 0xFFFF0000, _CLSACT, 0)
    _send(kernel, _RTM_NEWQDISC, body + attribute(_TCA_KIND, _QDISC), "sch_ingress")
    for direction, chain in chains.items():
        for priority, step in enumerate(chain, 1):
            info = priority << 16 | socket.htons(ETH_P_ALL)
            body = _TCMSG.pack(socket.AF_UNSPEC, index, 0, direction, info)
            attributes = attribute(_TCA_KIND, _CLASSIFIER) + attribute(_TCA_OPTIONS, _options(step))
            # An earlier step has shown that the kernel has cls_bpf.
            module = "act_mirred" if _has_action(step) and priority > 1 else "cls_bpf"
            _send(kernel, _RTM_NEWTFILTER, body + attributes, module)


def require_redirection(kernel: rtnl.Rtnl) -> None:
    """Require act_mirred, without changing anything.

    The kernel refuses the request in any case: it asks for an action without parameters. But first
    it looks for the module, and loads it, as for a filter.

    :raises LackingModule: the kernel lacks it
    :raises vmnet.net.rtnl.RtnlError: the kernel gave another answer than expected
    """
    action = attribute(_TCA_ACT_TAB, attribute(1, attribute(_TCA_ACT_KIND, _ACTION)))
    body = struct.pack("=Bxxx", socket.AF_UNSPEC) + action  # struct tcamsg
    try:
        _send(kernel, _RTM_NEWACTION, body, "act_mirred")
    except LackingModule:
        raise
    except rtnl.RtnlError as error:
        if error.errno != errno.EINVAL:
            raise


def _send(kernel: rtnl.Rtnl, kind: int, body: bytes, module: str) -> None:
    try:
        kernel.send_body(kind, _NEW, body)
    except rtnl.RtnlError as error:
        if error.errno in _LACKING:
            raise LackingModule(error.errno, module) from error
        raise


def _has_action(step: Step) -> bool:
    return isinstance(step, (Redirection, Copy))


def _options(step: Step) -> bytes:
    """Return the options of a filter: its program, and what decides about the frames."""
    if isinstance(step, Redirection):
        return _mirred(_STOLEN, _EGRESS_REDIRECT, step.link) + _program(_MATCH_ALL)
    if isinstance(step, Copy):
        return _mirred(OK, _EGRESS_MIRROR, step.link) + _program(step.program)
    return _program(step) + attribute(_TCA_BPF_FLAGS, struct.pack("=I", _ACT_DIRECT))


def _mirred(result: int, what: int, link: str) -> bytes:
    """Return the action of a filter, as an attribute."""
    parameters = _TC_MIRRED.pack(0, 0, result, 0, 0, what, links.index(link))
    action = attribute(_TCA_ACT_KIND, _ACTION) + attribute(
        _TCA_ACT_OPTIONS, attribute(_TCA_MIRRED_PARMS, parameters)
    )
    return attribute(_TCA_BPF_ACT, attribute(1, action))


def _program(program: cbpf.Program) -> bytes:
    assembled = cbpf.assemble(program)
    count = struct.pack("=H", len(assembled) // cbpf.INSTRUCTION.size)
    return attribute(_TCA_BPF_OPS_LEN, count) + attribute(_TCA_BPF_OPS, assembled)


def detach(kernel: rtnl.Rtnl, link: str) -> None:
    """Remove the filters of a link, if there are any.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    body = _TCMSG.pack(socket.AF_UNSPEC, links.index(link), 0xFFFF0000, _CLSACT, 0)
    try:
        kernel.send_body(_RTM_DELQDISC, 0, body + attribute(_TCA_KIND, _QDISC))
    except rtnl.RtnlError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # EINVAL: the link has no clsact
            raise
