"""A look at the addresses of a host, for its bridge's inspection."""

from __future__ import annotations

import socket

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
