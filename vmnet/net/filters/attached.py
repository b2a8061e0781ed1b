"""Read the classic BPF programs that are attached to a network device."""

from __future__ import annotations

import socket
import struct

from vmnet.net import dump, netlink

_TRAFFIC = struct.Struct("=BxxxiIII")  # struct tcmsg
_INGRESS, _TCA_KIND, _TCA_OPTIONS, _TCA_BPF_OPS = 0xFFFFFFF2, 1, 2, 5


def programs(index: int) -> list[bytes]:
    """Return the programs of a device's filters for the frames that it receives (tc-bpf(8)).

    :raises OSError: the kernel refused
    """
    request = _TRAFFIC.pack(socket.AF_UNSPEC, index, 0, _INGRESS, 0)
    found = (
        dict(netlink.attributes(body[_TRAFFIC.size :]))
        for body in dump.bodies(dump.RTM_GETTFILTER, request)
    )
    options = (
        dict(netlink.attributes(each.get(_TCA_OPTIONS, b"")))
        for each in found
        if each.get(_TCA_KIND) == b"bpf\0"
    )
    return [each[_TCA_BPF_OPS] for each in options if _TCA_BPF_OPS in each]
