"""Give a NIC back what :mod:`vmnet.net.restore.snapshot` remembered, from whatever state it is in.

What is there already stays, what is missing is added, what was not there before goes. In the end
the two are compared.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence

from vmnet.errors import BridgeError
from vmnet.model.wiring import Saved
from vmnet.net import links, rtnl
from vmnet.net.kernel_errors import step
from vmnet.net.restore import snapshot
from vmnet.net.restore.records import Message

_NEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
_ANEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
# Behind the others of its place, where EXCL would refuse a second one.
_ONE_MORE = rtnl.NLM_F_CREATE | rtnl.NLM_F_APPEND


def addresses(kernel: rtnl.Rtnl, name: str, saved: Saved) -> None:
    """Give an interface its addresses back, in their order.

    :raises BridgeError: the kernel refused one
    """
    index = links.index(name)
    wanted = [address for address in snapshot.messages(saved) if _is_address_of(address, index)]
    now = [
        address
        for address in snapshot.read(kernel, (rtnl.RTM_NEWADDR,))
        if index in address.indices
    ]
    for family in (socket.AF_INET, socket.AF_INET6):
        old, new = (
            [address for address in each if address.family == family] for each in (now, wanted)
        )
        if [address.meaning for address in old] == [address.meaning for address in new]:
            continue
        for address in reversed(old):  # secondary ones first: they go with their primary one
            kernel.send_body(rtnl.RTM_DELADDR, 0, address.body)
        # The kernel lists IPv4 addresses oldest first and IPv6 addresses newest first.
        for address in new if family == socket.AF_INET else reversed(new):
            with step(f"give {name} back its {address}"):
                _add_address(kernel, address, is_up=saved.up)


class Wanted:
    """What was saved of interfaces that are to have it again, all together.

    :param names: the interfaces
    :param indices: their indices
    :param messages: in the kernel's order
    """

    def __init__(
        self, names: Iterable[str], indices: Iterable[int], messages: Iterable[Message]
    ) -> None:
        self.names = tuple(names)
        self._indices = frozenset(indices)
        every = {message.meaning: message for message in messages}
        self.all: Sequence[Message] = tuple(every.values())
        self._meanings = every.keys()
        own = (snapshot.concerning(index, self.all) for index in self._indices)
        self._own = {message.meaning for each in own for message in each}

    @classmethod
    def of(cls, saved: Mapping[str, Saved], gone: Iterable[Saved] = ()) -> Wanted:
        """What was saved, but for what takes an interface that is gone.

        :param saved: by the name of the interface, which has its addresses by now
        """
        lost = [
            message
            for each in gone
            for message in snapshot.messages(each)
            if message.kind == rtnl.RTM_NEWADDR
        ]
        indices = frozenset(index for message in lost for index in message.indices)
        addresses = {message.address for message in lost}
        messages = (
            message
            for each in saved.values()
            for message in snapshot.messages(each)
            if not message.indices & indices and message.source not in addresses
        )
        return cls(saved, map(links.index, saved), messages)

    def missing(self, now: Sequence[Message]) -> list[Message]:
        """What the interfaces had, and have not."""
        missing = self._own - {message.meaning for message in now}
        return [message for message in self.all if message.meaning in missing]

    def surplus(self, now: Sequence[Message]) -> list[Message]:
        """Routes through the interfaces that were not there: the kernel derives some anew."""
        return [
            message
            for message in now
            if message.kind == rtnl.RTM_NEWROUTE
            and message.indices & self._indices
            and not message.is_advertised
            and message.meaning not in self._meanings
        ]

    def intruders(self, now: Sequence[Message], place: object) -> list[Message]:
        """Routes in a place that were not there before."""
        here = (
            message
            for message in now
            if message.kind == rtnl.RTM_NEWROUTE and message.place == place
        )
        return [message for message in here if message.meaning not in self._meanings]


def routes(kernel: rtnl.Rtnl, wanted: Wanted) -> None:
    """Give interfaces with addresses their neighbours, nexthop objects and routes back.

    :raises BridgeError: the kernel refused one
    """
    missing = wanted.missing(snapshot.read(kernel))
    for message in missing:
        if message.kind == rtnl.RTM_NEWNEIGH:
            with step(f"give back the {message}"):
                kernel.send_body(message.kind, _ANEW, message.body)
    _add(kernel, [message for message in missing if message.kind == rtnl.RTM_NEWNEXTHOP], wanted)
    ways = [message for message in missing if message.kind == rtnl.RTM_NEWROUTE]
    # A local address is no gateway, but one that was a gateway may have become local.
    _add(kernel, sorted(ways, key=lambda message: message.is_local), wanted)
    for message in wanted.surplus(snapshot.read(kernel)):
        _delete_route(kernel, message)
    _put_in_order(kernel, wanted)


def require_same(kernel: rtnl.Rtnl, wanted: Wanted) -> None:
    """Compare with what was saved.

    :raises BridgeError: something is missing, or there that was not
    """
    now = snapshot.read(kernel)
    missing = [f"no {message}" for message in wanted.missing(now) if not message.is_advertised]
    surplus = [f"one more {message}" for message in wanted.surplus(now)]
    if differences := [*missing, *surplus]:
        listed = ", ".join(differences[:5])
        raise BridgeError(
            f"{', '.join(wanted.names)} can't be put back as before: {listed}",
            "start again; if that fails too, restart the pod or container anew",
        )


def _is_address_of(message: Message, index: int) -> bool:
    return message.kind == rtnl.RTM_NEWADDR and index in message.indices


def _add_address(kernel: rtnl.Rtnl, address: Message, *, is_up: bool) -> None:
    """One address; an IPv6 address of a NIC that is up is usable at once, as it was.

    The container had it a moment ago, so no other machine has it. While the kernel looks for
    duplicates it refuses routes that have it as their source.
    """
    if not (address.is_doubted and is_up):
        kernel.send_body(rtnl.RTM_NEWADDR, _NEW, address.body)
        return
    kernel.send_body(rtnl.RTM_NEWADDR, rtnl.NLM_F_CREATE, address.undoubted_body)
    kernel.send_body(rtnl.RTM_NEWADDR, rtnl.NLM_F_REPLACE, address.body)


def _add(kernel: rtnl.Rtnl, waiting: list[Message], wanted: Wanted) -> None:
    """Add objects, those first on which others depend."""
    while waiting:
        refused = []
        for message in waiting:
            try:
                _create(kernel, message, wanted)
            except rtnl.RtnlError as error:
                refused.append((message, error))
        if len(refused) == len(waiting):
            refused = [pair for pair in refused if not _led_to(kernel, pair[0], wanted)]
        if len(refused) == len(waiting):
            first, refusal = refused[0]
            with step(f"give back the {first}"):
                raise refusal
        waiting = [message for message, _ in refused]


def _create(kernel: rtnl.Rtnl, message: Message, wanted: Wanted) -> None:
    """Add an object; in IPv6 in place of a remainder that the kernel takes for the same."""
    is_route = message.kind == rtnl.RTM_NEWROUTE
    try:
        kernel.send_body(message.kind, _ONE_MORE if is_route else _ANEW, message.body)
    except rtnl.RtnlError as error:
        if error.errno != errno.EEXIST or not is_route:
            raise
        for intruder in wanted.intruders(snapshot.read(kernel, (message.kind,)), message.place):
            _delete_route(kernel, intruder)
        kernel.send_body(message.kind, _ONE_MORE, message.body)


def _led_to(kernel: rtnl.Rtnl, route: Message, wanted: Wanted) -> bool:
    """Add a route to whose gateway no other leads any more: it outlived that one."""
    way = route.to_gateway()
    if not way:
        return False
    try:
        kernel.send_body(rtnl.RTM_NEWROUTE, _NEW, way)
    except rtnl.RtnlError:
        return False
    try:
        _create(kernel, route, wanted)
    except rtnl.RtnlError:
        return False
    finally:
        kernel.send_body(rtnl.RTM_DELROUTE, 0, way)
    return True


def _delete_route(kernel: rtnl.Rtnl, route: Message) -> None:
    try:
        kernel.send_body(rtnl.RTM_DELROUTE, 0, route.body)
    except rtnl.RtnlError as error:
        if error.errno != errno.ESRCH:  # it went with another one
            raise


def _put_in_order(kernel: rtnl.Rtnl, wanted: Wanted) -> None:
    """Move routes that stand wrong to the end of their place: the kernel takes the first."""
    now = [route.meaning for route in snapshot.read(kernel, (rtnl.RTM_NEWROUTE,))]
    position = {meaning: number for number, meaning in enumerate(now)}
    places: dict[object, list[Message]] = {}
    for route in wanted.all:
        if route.is_ordered and route.meaning in position:
            places.setdefault(route.place, []).append(route)
    for right in places.values():
        for route in right[_in_order([position[each.meaning] for each in right]) :]:
            with step(f"put the {route} in its place"):
                kernel.send_body(rtnl.RTM_DELROUTE, 0, route.body)
                kernel.send_body(rtnl.RTM_NEWROUTE, _ONE_MORE, route.body)


def _in_order(positions: Sequence[int]) -> int:
    """How many of the first stand in their order among all of them."""
    count = 0
    for place in sorted(positions):
        if place == positions[count]:
            count += 1
    return count
