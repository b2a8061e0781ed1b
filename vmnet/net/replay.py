"""Give a NIC back what :mod:`vmnet.net.snapshot` remembered, from whatever state it is in.

What is there already stays, what is missing is added, what was not there before goes. In the end
the two are compared.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence

from vmnet.errors import BridgeError
from vmnet.net import links, rtnl, snapshot
from vmnet.net.records import Message
from vmnet.net.steps import step
from vmnet.wiring import Saved

_NEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
_ANEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
# Behind the others of its place, where EXCL would refuse a second one.
_ONE_MORE = rtnl.NLM_F_CREATE | rtnl.NLM_F_APPEND


def addresses(kernel: rtnl.Rtnl, name: str, saved: Saved) -> None:
    """Give an interface its addresses back, in their order.

    :raises BridgeError: the kernel refused one
    """
    index = links.index(name)
    wanted = [one for one in snapshot.messages(saved) if _is_address_of(one, index)]
    now = [one for one in snapshot.read(kernel, (rtnl.RTM_NEWADDR,)) if index in one.indices]
    for family in (socket.AF_INET, socket.AF_INET6):
        old, new = ([one for one in each if one.family == family] for each in (now, wanted))
        if [one.meaning for one in old] == [one.meaning for one in new]:
            continue
        for one in reversed(old):  # secondary ones first: they go with their primary one
            kernel.send_body(rtnl.RTM_DELADDR, 0, one.body)
        # The kernel lists IPv4 addresses oldest first and IPv6 addresses newest first.
        for one in new if family == socket.AF_INET else reversed(new):
            with step(f"give {name} back its {one}"):
                _add_address(kernel, one, is_up=saved.up)


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
        every = {one.meaning: one for one in messages}
        self.all: Sequence[Message] = tuple(every.values())
        self._meanings = every.keys()
        own = (snapshot.concerning(index, self.all) for index in self._indices)
        self._own = {one.meaning for each in own for one in each}

    @classmethod
    def of(cls, saved: Mapping[str, Saved], gone: Iterable[Saved] = ()) -> Wanted:
        """What was saved, but for what takes an interface that is gone.

        :param saved: by the name of the interface, which has its addresses by now
        """
        lost = [
            one for each in gone for one in snapshot.messages(each) if one.kind == rtnl.RTM_NEWADDR
        ]
        indices = frozenset(index for one in lost for index in one.indices)
        addresses = {one.address for one in lost}
        messages = (
            one
            for each in saved.values()
            for one in snapshot.messages(each)
            if not one.indices & indices and one.source not in addresses
        )
        return cls(saved, map(links.index, saved), messages)

    def missing(self, now: Sequence[Message]) -> list[Message]:
        """What the interfaces had, and have not."""
        missing = self._own - {one.meaning for one in now}
        return [one for one in self.all if one.meaning in missing]

    def surplus(self, now: Sequence[Message]) -> list[Message]:
        """Routes through the interfaces that were not there: the kernel derives some anew."""
        return [
            one
            for one in now
            if one.kind == rtnl.RTM_NEWROUTE
            and one.indices & self._indices
            and not one.is_advertised
            and one.meaning not in self._meanings
        ]

    def intruders(self, now: Sequence[Message], place: object) -> list[Message]:
        """Routes in a place that were not there before."""
        here = (one for one in now if one.kind == rtnl.RTM_NEWROUTE and one.place == place)
        return [one for one in here if one.meaning not in self._meanings]


def routes(kernel: rtnl.Rtnl, wanted: Wanted) -> None:
    """Give interfaces with addresses their neighbours, nexthop objects and routes back.

    :raises BridgeError: the kernel refused one
    """
    missing = wanted.missing(snapshot.read(kernel))
    for one in missing:
        if one.kind == rtnl.RTM_NEWNEIGH:
            with step(f"give back the {one}"):
                kernel.send_body(one.kind, _ANEW, one.body)
    _add(kernel, [one for one in missing if one.kind == rtnl.RTM_NEWNEXTHOP], wanted)
    ways = [one for one in missing if one.kind == rtnl.RTM_NEWROUTE]
    # A local address is no gateway, but one that was a gateway may have become local.
    _add(kernel, sorted(ways, key=lambda one: one.is_local), wanted)
    for one in wanted.surplus(snapshot.read(kernel)):
        _delete_route(kernel, one)
    _put_in_order(kernel, wanted)


def require_same(kernel: rtnl.Rtnl, wanted: Wanted) -> None:
    """Compare with what was saved.

    :raises BridgeError: something is missing, or there that was not
    """
    now = snapshot.read(kernel)
    missing = [f"no {one}" for one in wanted.missing(now) if not one.is_advertised]
    surplus = [f"one more {one}" for one in wanted.surplus(now)]
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

    It was the container's a moment ago and is nobody else's. While the kernel looks for duplicates
    it refuses routes that have it as their source.
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
        for one in waiting:
            try:
                _create(kernel, one, wanted)
            except rtnl.RtnlError as error:
                refused.append((one, error))
        if len(refused) == len(waiting):
            refused = [pair for pair in refused if not _led_to(kernel, pair[0], wanted)]
        if len(refused) == len(waiting):
            first, refusal = refused[0]
            with step(f"give back the {first}"):
                raise refusal
        waiting = [one for one, _ in refused]


def _create(kernel: rtnl.Rtnl, message: Message, wanted: Wanted) -> None:
    """Add an object; in IPv6 in place of a remainder that the kernel takes for the same."""
    is_route = message.kind == rtnl.RTM_NEWROUTE
    try:
        kernel.send_body(message.kind, _ONE_MORE if is_route else _ANEW, message.body)
    except rtnl.RtnlError as error:
        if error.errno != errno.EEXIST or not is_route:
            raise
        for one in wanted.intruders(snapshot.read(kernel, (message.kind,)), message.place):
            _delete_route(kernel, one)
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
    now = [one.meaning for one in snapshot.read(kernel, (rtnl.RTM_NEWROUTE,))]
    position = {meaning: number for number, meaning in enumerate(now)}
    places: dict[object, list[Message]] = {}
    for one in wanted.all:
        if one.is_ordered and one.meaning in position:
            places.setdefault(one.place, []).append(one)
    for right in places.values():
        for one in right[_in_order([position[each.meaning] for each in right]) :]:
            with step(f"put the {one} in its place"):
                kernel.send_body(rtnl.RTM_DELROUTE, 0, one.body)
                kernel.send_body(rtnl.RTM_NEWROUTE, _ONE_MORE, one.body)


def _in_order(positions: Sequence[int]) -> int:
    """How many of the first stand in their order among all of them."""
    count = 0
    for one in sorted(positions):
        if one == positions[count]:
            count += 1
    return count
