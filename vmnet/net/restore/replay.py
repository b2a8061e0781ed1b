"""Restore the state of NICs that :mod:`vmnet.net.restore.snapshot` saved, from any current state.

The module adds objects that are missing, removes objects that did not exist, keeps the others, and
finally compares the result with the saved state.
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
from vmnet.net.restore.message import Message

_CREATE = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
_REPLACE = rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
# Adds a route behind those of the same slot. EXCL would refuse a second route there.
_APPEND = rtnl.NLM_F_CREATE | rtnl.NLM_F_APPEND


def everything(kernel: rtnl.Rtnl, present: Mapping[str, Saved], gone: Iterable[Saved]) -> None:
    """Restore the addresses and routes of interfaces, and require that they have the saved state.

    :param present: the saved state by the name of the interface
    :param gone: the saved state of interfaces that no longer exist
    :raises BridgeError: the kernel refused an object, or the result differs
    """
    for name, saved in present.items():
        with step(f"restore the addresses of {name}"):
            addresses(kernel, name, saved)
            links.change(kernel, name, addr_gen_mode=saved.addr_gen_mode)
    # After the addresses of all NICs, because a route may depend on another NIC's address.
    with step(f"restore the routes of {', '.join(present)}"):
        wanted = Wanted.of(present, gone)
        routes(kernel, wanted)
        require_same(kernel, wanted)


def addresses(kernel: rtnl.Rtnl, name: str, saved: Saved) -> None:
    """Restore the addresses of an interface, in their order.

    :raises BridgeError: the kernel refused an address
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
            [address for address in group if address.family == family] for group in (now, wanted)
        )
        if [address.meaning for address in old] == [address.meaning for address in new]:
            continue
        # Secondary addresses first: the kernel removes them together with their primary address.
        for address in reversed(old):
            kernel.send_body(rtnl.RTM_DELADDR, 0, address.body)
        # The kernel lists IPv4 addresses oldest first and IPv6 addresses newest first.
        for address in new if family == socket.AF_INET else reversed(new):
            with step(f"restore the {address} of {name}"):
                _add_address(kernel, address, is_up=saved.up)


class Wanted:
    """The saved state of all interfaces to restore.

    :param names: the interfaces
    :param indices: their indices
    :param messages: the saved messages, in the kernel's order
    """

    def __init__(
        self, names: Iterable[str], indices: Iterable[int], messages: Iterable[Message]
    ) -> None:
        self.names = tuple(names)
        self._indices = frozenset(indices)
        by_meaning = {message.meaning: message for message in messages}
        self.all: Sequence[Message] = tuple(by_meaning.values())
        self._meanings = by_meaning.keys()
        own = (snapshot.concerning(index, self.all) for index in self._indices)
        self._own = {message.meaning for concerning in own for message in concerning}

    @classmethod
    def of(cls, saved: Mapping[str, Saved], gone: Iterable[Saved] = ()) -> Wanted:
        """Return the saved state, without objects that need an interface that no longer exists.

        :param saved: by the name of the interface, whose addresses are already restored
        :param gone: the saved state of the interfaces that no longer exist
        """
        lost = [
            message
            for state in gone
            for message in snapshot.messages(state)
            if message.kind == rtnl.RTM_NEWADDR
        ]
        indices = frozenset(index for message in lost for index in message.indices)
        addresses = {message.address for message in lost}
        messages = (
            message
            for state in saved.values()
            for message in snapshot.messages(state)
            if not message.indices & indices and message.source not in addresses
        )
        return cls(saved, map(links.index, saved), messages)

    def missing(self, now: Sequence[Message]) -> list[Message]:
        """Return the saved objects of the interfaces that do not exist now."""
        missing = self._own - {message.meaning for message in now}
        return [message for message in self.all if message.meaning in missing]

    def surplus(self, now: Sequence[Message]) -> list[Message]:
        """Return routes through the interfaces that were not saved; the kernel derives some."""
        return [
            message
            for message in now
            if message.kind == rtnl.RTM_NEWROUTE
            and message.indices & self._indices
            and not message.is_advertised
            and message.meaning not in self._meanings
        ]

    def intruders(self, now: Sequence[Message], slot: object) -> list[Message]:
        """Return the routes of a slot that were not saved."""
        in_slot = (
            message for message in now if message.kind == rtnl.RTM_NEWROUTE and message.slot == slot
        )
        return [message for message in in_slot if message.meaning not in self._meanings]


def routes(kernel: rtnl.Rtnl, wanted: Wanted) -> None:
    """Restore neighbours, nexthop objects and routes of interfaces that have their addresses.

    :raises BridgeError: the kernel refused an object
    """
    missing = wanted.missing(snapshot.read(kernel))
    for message in missing:
        if message.kind == rtnl.RTM_NEWNEIGH:
            with step(f"restore the {message}"):
                kernel.send_body(message.kind, _REPLACE, message.body)
    _add(kernel, [message for message in missing if message.kind == rtnl.RTM_NEWNEXTHOP], wanted)
    missing_routes = [message for message in missing if message.kind == rtnl.RTM_NEWROUTE]
    # Local routes last: the kernel accepts no local address as a gateway, though the address of a
    # gateway may have become local after the route through it was added.
    _add(kernel, sorted(missing_routes, key=lambda route: route.is_local), wanted)
    for message in wanted.surplus(snapshot.read(kernel)):
        _delete_route(kernel, message)
    _restore_order(kernel, wanted)


def require_same(kernel: rtnl.Rtnl, wanted: Wanted) -> None:
    """Require that the interfaces have the saved state.

    :raises BridgeError: an object is missing or surplus
    """
    now = snapshot.read(kernel)
    missing = [f"missing {message}" for message in wanted.missing(now) if not message.is_advertised]
    surplus = [f"surplus {message}" for message in wanted.surplus(now)]
    if differences := [*missing, *surplus]:
        listed = ", ".join(differences[:5])
        raise BridgeError(
            f"can't restore {', '.join(wanted.names)}: {listed}",
            "start again; if that fails, recreate the pod or container",
        )


def _is_address_of(message: Message, index: int) -> bool:
    return message.kind == rtnl.RTM_NEWADDR and index in message.indices


def _add_address(kernel: rtnl.Rtnl, address: Message, *, is_up: bool) -> None:
    """Add an address. If the NIC is up, an IPv6 address skips duplicate address detection.

    The container had the address a moment ago, so no other machine has it. During the detection,
    the kernel would refuse routes whose source it is.
    """
    if not (address.is_subject_to_dad and is_up):
        kernel.send_body(rtnl.RTM_NEWADDR, _CREATE, address.body)
        return
    kernel.send_body(rtnl.RTM_NEWADDR, rtnl.NLM_F_CREATE, address.body_without_dad)
    kernel.send_body(rtnl.RTM_NEWADDR, rtnl.NLM_F_REPLACE, address.body)


def _add(kernel: rtnl.Rtnl, waiting: list[Message], wanted: Wanted) -> None:
    """Add objects in the order of their dependencies: retry refused objects after the others."""
    while waiting:
        refused = []
        for message in waiting:
            try:
                _create(kernel, message, wanted)
            except rtnl.RtnlError as error:
                refused.append((message, error))
        if len(refused) == len(waiting):
            refused = [pair for pair in refused if not _create_orphan(kernel, pair[0], wanted)]
        if len(refused) == len(waiting):
            first, refusal = refused[0]
            with step(f"restore the {first}"):
                raise refusal
        waiting = [message for message, _ in refused]


def _create(kernel: rtnl.Rtnl, message: Message, wanted: Wanted) -> None:
    """Add an object.

    It replaces unsaved routes that the kernel's IPv6 code considers the same route.
    """
    is_route = message.kind == rtnl.RTM_NEWROUTE
    try:
        kernel.send_body(message.kind, _APPEND if is_route else _REPLACE, message.body)
    except rtnl.RtnlError as error:
        if error.errno != errno.EEXIST or not is_route:
            raise
        for intruder in wanted.intruders(snapshot.read(kernel, (message.kind,)), message.slot):
            _delete_route(kernel, intruder)
        kernel.send_body(message.kind, _APPEND, message.body)


def _create_orphan(kernel: rtnl.Rtnl, route: Message, wanted: Wanted) -> bool:
    """Add a route whose gateway had become unreachable before the start.

    The kernel keeps such a route, but adds it only while a route leads to the gateway.
    """
    gateway_route = route.gateway_route()
    if not gateway_route:
        return False
    try:
        kernel.send_body(rtnl.RTM_NEWROUTE, _CREATE, gateway_route)
    except rtnl.RtnlError:
        return False
    try:
        _create(kernel, route, wanted)
    except rtnl.RtnlError:
        return False
    finally:
        kernel.send_body(rtnl.RTM_DELROUTE, 0, gateway_route)
    return True


def _delete_route(kernel: rtnl.Rtnl, route: Message) -> None:
    try:
        kernel.send_body(rtnl.RTM_DELROUTE, 0, route.body)
    except rtnl.RtnlError as error:
        if error.errno != errno.ESRCH:  # the kernel removed it together with another route
            raise


def _restore_order(kernel: rtnl.Rtnl, wanted: Wanted) -> None:
    """Move misplaced routes to the end of their slot; the kernel uses the first route of a slot."""
    now = [route.meaning for route in snapshot.read(kernel, (rtnl.RTM_NEWROUTE,))]
    position = {meaning: number for number, meaning in enumerate(now)}
    slots: dict[object, list[Message]] = {}
    for route in wanted.all:
        if route.is_ordered and route.meaning in position:
            slots.setdefault(route.slot, []).append(route)
    for ordered in slots.values():
        for route in ordered[_count_in_order([position[route.meaning] for route in ordered]) :]:
            with step(f"restore the order of the {route}"):
                kernel.send_body(rtnl.RTM_DELROUTE, 0, route.body)
                kernel.send_body(rtnl.RTM_NEWROUTE, _APPEND, route.body)


def _count_in_order(positions: Sequence[int]) -> int:
    """Return the length of the longest ascending prefix of ``positions``."""
    count = 0
    for position in sorted(positions):
        if position == positions[count]:
            count += 1
    return count
