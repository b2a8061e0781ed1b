"""Save the state of a NIC; :mod:`vmnet.net.restore.replay` restores it.

The state consists of the kernel's own rtnetlink messages, as ``ip address save`` and ``ip route
save`` store them. So attributes that vmnet does not know survive as well.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vmnet.model.wiring import Saved, SavedMessage
from vmnet.net import links, rtnl
from vmnet.net.restore.message import Message

# In the order of their dependencies.
_KINDS = (rtnl.RTM_NEWADDR, rtnl.RTM_NEWNEIGH, rtnl.RTM_NEWNEXTHOP, rtnl.RTM_NEWROUTE)


def take(kernel: rtnl.Rtnl, names: Iterable[str]) -> tuple[Saved, ...]:
    """Return the state of each interface, with all that the kernel forgets when it goes down.

    :raises OSError: there is no such interface
    """
    everything = read(kernel)
    return tuple(_saved(links.get(kernel, name), everything) for name in names)


def read(kernel: rtnl.Rtnl, kinds: Sequence[int] = _KINDS) -> list[Message]:
    """Read addresses, permanent neighbours, nexthop objects and routes of all interfaces.

    Routes in the table ``local`` that the kernel derives from the addresses are left out.
    """
    found = (Message.parse(kind, body) for kind in kinds for body in _dump(kernel, kind))
    return [message for message in found if message.is_kept]


def messages(saved: Saved) -> list[Message]:
    """Parse the saved messages of a NIC, in the kernel's order."""
    return [Message.parse(message.kind, bytes.fromhex(message.body)) for message in saved.messages]


def is_of(saved: Saved, index: int) -> bool:
    """Return whether a state can be that of the link with an index.

    A NIC that the engine removes and adds again has a new index, but often the same name and MAC.
    """
    addresses = [message for message in messages(saved) if message.kind == rtnl.RTM_NEWADDR]
    return not addresses or any(index in address.indices for address in addresses)


def concerning(index: int, everything: Sequence[Message]) -> list[Message]:
    """Return the messages that disappear when an interface goes down and loses its addresses.

    They include routes through other interfaces whose source is an address of this interface, or
    that have a hop through it.
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
        messages=tuple(
            SavedMessage(message.kind, message.body_as_dumped.hex())
            for message in _to_save(index, everything)
        ),
    )


def _to_save(index: int, everything: Sequence[Message]) -> Iterator[Message]:
    """Yield the messages that concern an interface, and the routes ordered among these."""
    own = concerning(index, everything)
    chosen = {id(message) for message in own}
    slots = {message.slot for message in own if message.is_ordered}
    for message in everything:
        if id(message) in chosen or (message.is_ordered and message.slot in slots):
            yield message


def _nexthops(index: int, everything: Sequence[Message]) -> frozenset[int]:
    """Return the IDs of the nexthop objects through an interface, and of their groups."""
    objects = [message for message in everything if message.kind == rtnl.RTM_NEWNEXTHOP]
    through = {
        number for message in objects if index in message.indices for number in message.nexthops
    }
    return frozenset(
        through.union(*(message.nexthops for message in objects if message.nexthops & through))
    )


def _dump(kernel: rtnl.Rtnl, kind: int) -> list[bytes]:
    try:
        return kernel.dump(kind)
    except rtnl.RtnlError as error:
        if kind == rtnl.RTM_NEWNEXTHOP and error.errno == errno.EOPNOTSUPP:  # before Linux 5.3
            return []
        raise
