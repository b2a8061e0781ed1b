"""Remember a NIC exactly as it was.

The kernel's own rtnetlink messages are kept, as ``ip address save`` and ``ip route save`` do, so
every attribute survives, those that vmnet knows nothing of included. :mod:`vmnet.net.replay` gives
them back.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vmnet.net import links, rtnl
from vmnet.net.records import Message
from vmnet.wiring import Record, Saved

# In the order in which they depend on each other.
_KINDS = (rtnl.RTM_NEWADDR, rtnl.RTM_NEWNEIGH, rtnl.RTM_NEWNEXTHOP, rtnl.RTM_NEWROUTE)


def take(kernel: rtnl.Rtnl, names: Iterable[str]) -> tuple[Saved, ...]:
    """The state of each of the interfaces, and all that the kernel forgets when it goes down.

    :raises OSError: there is no such interface
    """
    everything = read(kernel)
    return tuple(_saved(links.get(kernel, name), everything) for name in names)


def read(kernel: rtnl.Rtnl, kinds: Sequence[int] = _KINDS) -> list[Message]:
    """Addresses, permanent neighbours, nexthop objects and routes, of every interface.

    Routes of the table ``local`` that the kernel derives from the addresses are left out.
    """
    found = (Message.parse(kind, body) for kind in kinds for body in _dump(kernel, kind))
    return [one for one in found if one.is_kept]


def messages(saved: Saved) -> list[Message]:
    """What was saved of a NIC, in the kernel's order."""
    return [Message.parse(one.kind, bytes.fromhex(one.body)) for one in saved.records]


def concerning(index: int, everything: Sequence[Message]) -> list[Message]:
    """All that goes when an interface goes down and loses its addresses.

    Routes through other interfaces are among them where they have one of its addresses as their
    source, or one hop of several through it.
    """
    own = {
        one.address for one in everything if one.kind == rtnl.RTM_NEWADDR and index in one.indices
    }
    nexthops = _nexthops(index, everything)
    return [
        one
        for one in everything
        if index in one.indices
        or (one.kind == rtnl.RTM_NEWROUTE and one.source in own)
        or (one.kind in (rtnl.RTM_NEWNEXTHOP, rtnl.RTM_NEWROUTE) and one.nexthops & nexthops)
    ]


def _saved(link: Any, everything: Sequence[Message]) -> Saved:
    index = link["index"]
    return Saved(
        up=bool(link["flags"] & links.IFF_UP),
        queue_length=link.get_attr("IFLA_TXQLEN"),
        addr_gen_mode=links.addr_gen_mode(link),
        records=tuple(
            Record(one.kind, one.body_as_dumped.hex()) for one in _worth(index, everything)
        ),
    )


def _worth(index: int, everything: Sequence[Message]) -> Iterator[Message]:
    """What concerns an interface, and routes that are tried before or after one of these."""
    own = concerning(index, everything)
    chosen = {id(one) for one in own}
    places = {one.place for one in own if one.is_ordered}
    for one in everything:
        if id(one) in chosen or (one.is_ordered and one.place in places):
            yield one


def _nexthops(index: int, everything: Sequence[Message]) -> frozenset[int]:
    """The nexthop objects through an interface, and the groups that they are in."""
    objects = [one for one in everything if one.kind == rtnl.RTM_NEWNEXTHOP]
    single = {number for one in objects if index in one.indices for number in one.nexthops}
    return frozenset(single.union(*(one.nexthops for one in objects if one.nexthops & single)))


def _dump(kernel: rtnl.Rtnl, kind: int) -> list[bytes]:
    try:
        return kernel.dump(kind)
    except rtnl.RtnlError as error:
        if kind == rtnl.RTM_NEWNEXTHOP and error.errno == errno.EOPNOTSUPP:  # before Linux 5.3
            return []
        raise
