"""A small reader of netlink dumps: importing pyroute2 takes longer than all of `vmnet health`."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from vmnet.net import netlink

RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETQDISC, RTM_GETTFILTER = 18, 22, 26, 38, 46
_SECONDS, _BUFFER = 2.0, 1 << 16


def bodies(kind: int, request: bytes, protocol: int = socket.NETLINK_ROUTE) -> Iterator[bytes]:
    """Yield the body of each message in the kernel's answer.

    :param kind: the type of the request, such as RTM_GETLINK
    :param request: its fixed part, such as struct ifinfomsg
    :param protocol: the netlink protocol; rtnetlink unless given
    :raises OSError: the kernel refused, or did not answer in two seconds
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(netlink.message(kind, netlink.DUMP, request))
        while True:
            for answer, _, _, body in netlink.messages(kernel.recv(_BUFFER)):
                if answer in (netlink.ERROR, netlink.DONE):
                    netlink.raise_if_refused(body)
                    return
                yield body
