"""Remember a NIC exactly as it was.

The kernel's own rtnetlink messages are kept, as ``ip address save`` and ``ip route save`` do, so
every attribute survives, also those unknown to vmnet. :mod:`vmnet.net.restore.replay` gives them
back.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vmnet.model.wiring import Record, Saved
from vmnet.net import links, rtnl
from vmnet.net.restore.records import Message

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
    return [message for message in found if message.is_kept]


def messages(saved: Saved) -> list[Message]:
    """What was saved of a NIC, in the kernel's order."""
    return [Message.parse(record.kind, bytes.fromhex(record.body)) for record in saved.records]


def concerning(index: int, everything: Sequence[Message]) -> list[Message]:
    """All that goes when an interface goes down and loses its addresses.

    Routes through other interfaces are among them where they have one of its addresses as their
    source, or one hop of several through it.
    """
    own = {
        message.address
        for message in everything
        if message.kind == rtnl.RTM_NEWADDR and index in message.indices
    }
    nexthops = _nexthops(index, everything)
    return [
        message
        for message in everything
        if index in message.indices
        or (message.kind == rtnl.RTM_NEWROUTE and message.source in own)
        or (
            message.kind in (rtnl.RTM_NEWNEXTHOP, rtnl.RTM_NEWROUTE) and message.nexthops & nexthops
        )
    ]


def _saved(link: Any, everything: Sequence[Message]) -> Saved:
    index = link["index"]
    return Saved(
        up=bool(link["flags"] & links.IFF_UP),
        queue_length=link.get_attr("IFLA_TXQLEN"),
        addr_gen_mode=links.addr_gen_mode(link),
        records=tuple(
            Record(message.kind, message.body_as_dumped.hex())
            for message in _worth(index, everything)
        ),
    )


def _worth(index: int, everything: Sequence[Message]) -> Iterator[Message]:
    """What concerns an interface, and routes that are tried before or after one of these."""
    own = concerning(index, everything)
    chosen = {id(message) for message in own}
    places = {message.place for message in own if message.is_ordered}
    for message in everything:
        if id(message) in chosen or (message.is_ordered and message.place in places):
            yield message


def _nexthops(index: int, everything: Sequence[Message]) -> frozenset[int]:
    """The nexthop objects through an interface, and the groups that they are in."""
    objects = [message for message in everything if message.kind == rtnl.RTM_NEWNEXTHOP]
    single = {
        number for message in objects if index in message.indices for number in message.nexthops
    }
    return frozenset(
        single.union(*(message.nexthops for message in objects if message.nexthops & single))
    )


def _dump(kernel: rtnl.Rtnl, kind: int) -> list[bytes]:
    try:
        return kernel.dump(kind)
    except rtnl.RtnlError as error:
        if kind == rtnl.RTM_NEWNEXTHOP and error.errno == errno.EOPNOTSUPP:  # before Linux 5.3
            return []
        raise
