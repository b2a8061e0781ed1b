"""A look at the addresses of a host, for its bridge's inspection."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

from vmnet.net import rtnl


def addresses() -> dict[str, list[str]]:
    """Every interface's IPv4 addresses with their prefix lengths.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    found: dict[str, list[str]] = {}
    with rtnl.Rtnl() as kernel:
        for body in kernel.dump(rtnl.RTM_NEWADDR, socket.AF_INET):
            one = rtnl.decode(rtnl.RTM_NEWADDR, body)
            text = f"{one.get_attr('IFA_LOCAL')}/{one['prefixlen']}"
            found.setdefault(socket.if_indextoname(one["index"]), []).append(text)
    return found


def gateways() -> list[IPv4Address]:
    """Those of the IPv4 default routes.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    with rtnl.Rtnl() as kernel:
        routes = [
            rtnl.decode(rtnl.RTM_NEWROUTE, body)
            for body in kernel.dump(rtnl.RTM_NEWROUTE, socket.AF_INET)
        ]
    found = (one.get_attr("RTA_GATEWAY") for one in routes if one["dst_len"] == 0)
    return [IPv4Address(one) for one in found if one]
