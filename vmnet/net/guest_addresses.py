"""The guest's IPv4 addresses on the container's own end of a link: static neighbours and routes."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.net import links, neighbours, rtnl
from vmnet.net.restore import snapshot
from vmnet.net.restore.message import Message

_RTPROT_STATIC, _HOST_PREFIX = 4, 32


def replace(
    kernel: rtnl.Rtnl,
    device: str,
    mac: str,
    owned: Iterable[IPv4Address | IPv6Address],
    reached: Iterable[IPv4Address],
) -> None:
    """Replace the static entries and host routes for a guest's addresses.

    :param mac: the guest's MAC
    :param owned: the addresses that need a static entry; those of IPv6 need none
    :param reached: the addresses that need a route
    :raises vmnet.net.rtnl.RtnlError: the kernel refused a change
    """
    wanted = {address.packed: address for address in owned if isinstance(address, IPv4Address)}
    routed = {address.packed: address for address in reached}
    there = set()
    for message in _of(kernel, device, mac):
        keep = wanted if message.kind == rtnl.RTM_NEWNEIGH else routed
        if message.address in keep:
            there.add((message.kind, message.address))
        else:
            kind = rtnl.RTM_DELNEIGH if keep is wanted else rtnl.RTM_DELROUTE
            kernel.send_body(kind, 0, message.body)
    for packed, address in wanted.items():
        if (rtnl.RTM_NEWNEIGH, packed) not in there:
            neighbours.add_neighbour(kernel, device, address, mac)
    for packed, address in routed.items():
        if (rtnl.RTM_NEWROUTE, packed) not in there:
            links.add_host_route(kernel, device, address)


def _of(kernel: rtnl.Rtnl, device: str, mac: str) -> Iterator[Message]:
    """Yield the present entries and host routes."""
    index = links.index(device)
    for message in snapshot.read(kernel, (rtnl.RTM_NEWNEIGH, rtnl.RTM_NEWROUTE)):
        if message.indices != {index} or message.family != socket.AF_INET:
            continue
        if message.kind == rtnl.RTM_NEWNEIGH:
            if message.mac == mac:
                yield message
        elif message.fixed[1] == _HOST_PREFIX and message.fixed[5] == _RTPROT_STATIC:
            yield message
