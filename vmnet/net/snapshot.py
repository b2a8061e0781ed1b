"""Remember a NIC exactly as it was, and put it back.

The kernel's own rtnetlink messages are kept and replayed, as ``ip address save`` and ``ip route
save`` do, so every attribute survives, those that vmnet knows nothing of included.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from vmnet.net import links, rtnl
from vmnet.wiring import Record, Saved

_RTNH_COMPARE_MASK = 0x59  # DEAD, LINKDOWN, UNRESOLVED, OFFLOAD…: state, refused in a request
_CREATE = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL


def take(kernel: rtnl.Rtnl, names: Iterable[str]) -> tuple[Saved, ...]:
    """The state, addresses and routes of each of the interfaces.

    :raises OSError: there is no such interface
    """
    addresses, routes = _by_index(kernel)
    return tuple(_saved(links.get(kernel, name), addresses, routes) for name in names)


def _by_index(kernel: rtnl.Rtnl) -> tuple[dict[int, list[bytes]], dict[int, list[bytes]]]:
    """Every address and every route, by the index of each interface that it concerns."""
    addresses: dict[int, list[bytes]] = defaultdict(list)
    routes: dict[int, list[bytes]] = defaultdict(list)
    for body in kernel.dump(rtnl.RTM_NEWADDR):
        addresses[_index_of(body)].append(body)
    for body in kernel.dump(rtnl.RTM_NEWROUTE):
        for index in _indices_of(body):
            routes[index].append(body)
    return addresses, routes


def _saved(
    link: Any, addresses: Mapping[int, list[bytes]], routes: Mapping[int, list[bytes]]
) -> Saved:
    index = link["index"]
    return Saved(
        up=bool(link["flags"] & links.IFF_UP),
        queue_length=link.get_attr("IFLA_TXQLEN"),
        addr_gen_mode=links.addr_gen_mode(link),
        records=(
            *(Record(rtnl.RTM_NEWADDR, one.hex()) for one in addresses.get(index, ())),
            *(Record(rtnl.RTM_NEWROUTE, one.hex()) for one in routes.get(index, ())),
        ),
    )


def replay_addresses(kernel: rtnl.Rtnl, records: Iterable[Record]) -> None:
    """Give the addresses back; those that are there already stay.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused one
    """
    bodies = _bodies(records, rtnl.RTM_NEWADDR)
    ipv6 = [body for body in bodies if body[0] == socket.AF_INET6]
    ipv4 = [body for body in bodies if body[0] != socket.AF_INET6]
    # The kernel lists IPv4 addresses oldest first and IPv6 addresses newest first.
    for body in ipv4 + ipv6[::-1]:
        _create(kernel, rtnl.RTM_NEWADDR, body)


def replay_routes(kernel: rtnl.Rtnl, records: Iterable[Record]) -> None:
    """Give the routes back, those first on which others' gateways depend.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused one
    """
    waiting = [_clear_state(body) for body in _bodies(records, rtnl.RTM_NEWROUTE)]
    while waiting:
        refused = []
        for body in waiting:
            try:
                _create(kernel, rtnl.RTM_NEWROUTE, body)
            except rtnl.RtnlError as error:
                refused.append((body, error))
        if len(refused) == len(waiting):
            raise refused[0][1]
        waiting = [body for body, _ in refused]


def _create(kernel: rtnl.Rtnl, kind: int, body: bytes) -> None:
    try:
        kernel.send_body(kind, _CREATE, body)
    except rtnl.RtnlError as error:
        if error.errno != errno.EEXIST:
            raise


def _bodies(records: Iterable[Record], kind: int) -> list[bytes]:
    return [bytes.fromhex(one.body) for one in records if one.kind == kind]


def _index_of(body: bytes) -> int:
    """The interface index in ``ifaddrmsg``."""
    return int.from_bytes(body[4:8], sys.byteorder)


def _indices_of(body: bytes) -> set[int]:
    """The interface indices in ``rtmsg``, of which a multipath route has several."""
    if rtnl.is_local_route(body):
        return set()
    message = rtnl.decode(rtnl.RTM_NEWROUTE, body)
    hops = message.get_attr("RTA_MULTIPATH") or ()
    return {message.get_attr("RTA_OIF"), *(hop["oif"] for hop in hops)}


def _clear_state(body: bytes) -> bytes:
    """Without the flags of ``rtmsg`` that report a next hop's state."""
    flags = int.from_bytes(body[8:12], sys.byteorder) & ~_RTNH_COMPARE_MASK
    return body[:8] + flags.to_bytes(4, sys.byteorder) + body[12:]
