"""Find a gateway's link-local address by neighbour discovery, before the network changes.

Router advertisements must come from the router's link-local address (RFC 4861 section 6.1.2), and
DHCPv6 cannot convey a router. Engines configure the gateway's global address, so this module looks
for a link-local address of the same machine.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address

from attrs import frozen

from vmnet.model.identity import Interface, Router
from vmnet.net import ndp, packet_socket, packets

# A virtual switch answers in well under a millisecond. But when the first container joins a
# network, the gateway may be detecting duplicates of its own addresses, and stays silent for up to
# two seconds (RFC 4862 section 5.4.2).
_INTERVAL, _GATEWAY_SECONDS, _ADDRESS_SECONDS = 0.05, 3.0, 0.15
_DOCKER_BRIDGE = IPv6Address("fe80::1")  # Docker gives this address to its bridges


@frozen
class _Answer:
    """An address and the MAC that answered for it."""

    address: IPv6Address
    mac: bytes


def find(interface: Interface) -> Router | None:
    """Return the router of the interface's IPv6 routes; None if no route has a gateway.

    This takes a millisecond, or three seconds if the gateway does not answer. A link without raw
    sockets counts as silent. A gateway whose MAC the container has as a permanent entry is not
    asked, because it may not answer.
    """
    gateway = _gateway(interface)
    if gateway is None:
        return None
    mac = {entry.address: entry.mac for entry in interface.neighbours}.get(gateway, "")
    if gateway.is_link_local:
        return Router(gateway, gateway, mac)
    if mac:
        return Router(gateway, mac=mac)
    try:
        with ndp.open_link(interface.name) as link:
            return _ask(link, packets.mac_bytes(interface.mac), gateway)
    except OSError:
        return Router(gateway)


def _gateway(interface: Interface) -> IPv6Address | None:
    """Return the gateway of the preferred default route, or of the first route that has one."""
    routes = sorted(interface.routes_of(6), key=lambda route: (not route.is_default, route.metric))
    gateways = (route.gateway for route in routes)
    return next((gateway for gateway in gateways if isinstance(gateway, IPv6Address)), None)


def _ask(link: socket.socket, own_mac: bytes, gateway: IPv6Address) -> Router:
    """Find the gateway's MAC, then a link-local address that has the same MAC."""
    question = ndp.who_has(gateway, own_mac)
    first = _first_answer(
        link, own_mac, (question,), _GATEWAY_SECONDS, lambda answer: answer.address == gateway
    )
    if first is None:
        return Router(gateway)
    # A router may answer only one of these questions.
    questions = (
        ndp.who_has(_DOCKER_BRIDGE, own_mac),
        ndp.who_has(ndp.link_local(first.mac), own_mac),
        ndp.all_routers(),
    )
    second = _first_answer(
        link,
        own_mac,
        questions,
        _ADDRESS_SECONDS,
        lambda answer: answer.mac == first.mac and answer.address.is_link_local,
    )
    return Router(gateway, second.address if second else None, first.mac.hex(":"))


def _first_answer(
    link: socket.socket,
    own_mac: bytes,
    questions: Iterable[ndp.Question],
    seconds: float,
    accept: Callable[[_Answer], bool],
) -> _Answer | None:
    """Repeat the questions until an answer is accepted; return None after ``seconds``."""
    deadline = time.monotonic() + seconds
    frames = [(ndp.packet(question, own_mac), question.mac) for question in questions]
    while time.monotonic() < deadline:
        for packet, mac in frames:
            link.sendto(packet, (link.getsockname()[0], packets.ETH_P_IPV6, 0, 0, mac))
        for answer in _receive(link, time.monotonic() + _INTERVAL):
            if accept(answer):
                return answer
    return None


def _receive(link: socket.socket, deadline: float) -> Iterator[_Answer]:
    for packet, sender in packet_socket.receive(link, deadline):
        address = ndp.answered(packet)
        if address is not None:
            yield _Answer(address, sender[4])
