"""Add and remove routing rules by source address (ip-rule(8))."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address

from vmnet.net import rtnl
from vmnet.net.netlink import attribute

_RTM_NEWRULE, _RTM_DELRULE = 32, 33
# struct fib_rule_hdr: family, lengths of the destination and of the source, ToS, table, action,
# flags
_HEADER = struct.Struct("=BBBBBxxBI")
_FRA_SRC, _FRA_PRIORITY, _FRA_TABLE = 2, 6, 15
_TO_TABLE = 1
_PRIORITY = 32000  # before the main table


def add(kernel: rtnl.Rtnl, source: IPv4Address, table: int) -> None:
    """Make packets from an address use a table of routes, if they do not yet.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    flags = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
    try:
        kernel.send_body(_RTM_NEWRULE, flags, _body(source, table))
    except rtnl.RtnlError as error:
        if error.errno != errno.EEXIST:
            raise


def remove(kernel: rtnl.Rtnl, source: IPv4Address, table: int) -> None:
    """Remove the rule that :func:`add` made, if it is there.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    try:
        kernel.send_body(_RTM_DELRULE, 0, _body(source, table))
    except rtnl.RtnlError as error:
        if error.errno != errno.ENOENT:
            raise


def _body(source: IPv4Address, table: int) -> bytes:
    header = _HEADER.pack(socket.AF_INET, 0, source.max_prefixlen, 0, 0, _TO_TABLE, 0)
    return (
        header
        + attribute(_FRA_SRC, source.packed)
        + attribute(_FRA_PRIORITY, struct.pack("=I", _PRIORITY))
        + attribute(_FRA_TABLE, struct.pack("=I", table))
    )
