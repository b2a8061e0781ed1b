"""Who is the gateway on its link? Asked by neighbour discovery, before the network changes.

A router advertisement must come from the router's link-local address (RFC 4861 section 6.1.2), and
DHCPv6 has no word for a router at all. Engines configure a global address, so this module finds the
link-local one that the same machine holds.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address

from attrs import frozen

from vmnet.model.identity import Interface, Router
from vmnet.net import ndp

# A virtual switch answers in well under a millisecond. But the first container on a network finds
# the gateway looking for duplicates of its own addresses: two seconds at most (RFC 4862 section
# 5.4.2), in which it keeps silent.
_INTERVAL, _GATEWAY_SECONDS, _ADDRESS_SECONDS = 0.05, 3.0, 0.15
_DOCKERS = IPv6Address("fe80::1")  # Docker gives it to its bridges


@frozen
class _Answer:
    """An address, and the MAC that answered for it."""

    address: IPv6Address
    mac: bytes


def find(interface: Interface) -> Router | None:
    """The router behind the interface's IPv6 routes; None where none has a gateway.

    Asking takes a millisecond, or three seconds if nobody answers for the gateway. A link that
    can't be asked counts as silent.
    """
    gateway = _gateway(interface)
    if gateway is None:
        return None
    if gateway.is_link_local:
        return Router(gateway, gateway)
    try:
        with ndp.open_link(interface.name) as link:
            return _ask(link, bytes.fromhex(interface.mac.replace(":", "")), gateway)
    except OSError:
        return Router(gateway)


def _gateway(interface: Interface) -> IPv6Address | None:
    """That of the preferred default route, else of the first route that has one."""
    routes = sorted(interface.routes_of(6), key=lambda one: (not one.is_default, one.metric))
    gateways = (one.gateway for one in routes)
    return next((one for one in gateways if isinstance(one, IPv6Address)), None)


def _ask(link: socket.socket, own: bytes, gateway: IPv6Address) -> Router:
    question = ndp.who_has(gateway, own)
    first = _dialogue(link, own, (question,), _GATEWAY_SECONDS, lambda one: one.address == gateway)
    if first is None:
        return Router(gateway)
    # A machine answers to several of these, or to one: each is worth a frame.
    questions = (
        ndp.who_has(_DOCKERS, own),
        ndp.who_has(ndp.link_local(first.mac), own),
        ndp.all_routers(),
    )
    answer = _dialogue(
        link,
        own,
        questions,
        _ADDRESS_SECONDS,
        lambda one: one.mac == first.mac and one.address.is_link_local,
    )
    return Router(gateway, answer.address if answer else None, first.mac.hex(":"))


def _dialogue(
    link: socket.socket,
    own: bytes,
    questions: Iterable[ndp.Question],
    seconds: float,
    accept: Callable[[_Answer], bool],
) -> _Answer | None:
    """Ask, and again, until an answer is accepted or the time is over."""
    end = time.monotonic() + seconds
    packets = [(ndp.packet(one, own), one.mac) for one in questions]
    while time.monotonic() < end:
        for packet, mac in packets:
            link.sendto(packet, (link.getsockname()[0], ndp.ETH_P_IPV6, 0, 0, mac))
        for answer in _heard(link, time.monotonic() + _INTERVAL):
            if accept(answer):
                return answer
    return None


def _heard(link: socket.socket, until: float) -> Iterator[_Answer]:
    while (left := until - time.monotonic()) > 0:
        if not select.select([link], [], [], left)[0]:
            return
        packet, sender = link.recvfrom(2048)
        address = ndp.answered(packet)
        if address is not None:
            yield _Answer(address, sender[4])
