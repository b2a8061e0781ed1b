"""IPv4 addresses and gateways of a host, for ``vmnet host-bridge --check``."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

from vmnet.net import rtnl


def addresses() -> dict[str, list[str]]:
    """Return the IPv4 addresses of every interface, with their prefix lengths.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    found: dict[str, list[str]] = {}
    with rtnl.Rtnl() as kernel:
        for body in kernel.dump(rtnl.RTM_NEWADDR, socket.AF_INET):
            message = rtnl.decode(rtnl.RTM_NEWADDR, body)
            address = f"{message.get_attr('IFA_LOCAL')}/{message['prefixlen']}"
            found.setdefault(socket.if_indextoname(message["index"]), []).append(address)
    return found


def gateways() -> list[IPv4Address]:
    """Return the gateways of the IPv4 default routes.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    with rtnl.Rtnl() as kernel:
        routes = [
            rtnl.decode(rtnl.RTM_NEWROUTE, body)
            for body in kernel.dump(rtnl.RTM_NEWROUTE, socket.AF_INET)
        ]
    found = (route.get_attr("RTA_GATEWAY") for route in routes if route["dst_len"] == 0)
    return [IPv4Address(gateway) for gateway in found if gateway]
