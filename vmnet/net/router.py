"""Who is the gateway on its link? Asked by neighbour discovery, before the network changes.

A router advertisement must come from the router's link-local address (RFC 4861 section 6.1.2), and
DHCPv6 has no word for a router at all. Engines configure a global address, so this module finds the
link-local one that the same machine holds.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address

from attrs import frozen

from vmnet.identity import Interface, Router

# A virtual switch answers in well under a millisecond. But the first container on a network finds
# the gateway looking for duplicates of its own addresses: two seconds at most (RFC 4862 section
# 5.4.2), in which it keeps silent.
_INTERVAL, _GATEWAY_SECONDS, _ADDRESS_SECONDS = 0.05, 3.0, 0.15
_ETH_P_IPV6, _ICMPV6 = 0x86DD, 58
_ECHO_REQUEST, _ECHO_REPLY, _SOLICITATION, _ADVERTISEMENT = 128, 129, 135, 136
_ALL_ROUTERS = IPv6Address("ff02::2")
_DOCKERS = IPv6Address("fe80::1")  # Docker gives it to its bridges
_HEADER = struct.Struct("!IHBB16s16s")  # RFC 8200 section 3
_NEIGHBOUR = struct.Struct("!BxxxI16s")  # RFC 4861 section 4.3: type, flags, target


@frozen
class _Question:
    """An ICMPv6 message, its checksum still zero."""

    destination: IPv6Address
    message: bytes


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
        with _open(interface.name) as link:
            return _ask(link, bytes.fromhex(interface.mac.replace(":", "")), gateway)
    except OSError:
        return Router(gateway)


def _gateway(interface: Interface) -> IPv6Address | None:
    """That of the preferred default route, else of the first route that has one."""
    routes = sorted(interface.routes_of(6), key=lambda one: (not one.is_default, one.metric))
    gateways = (one.gateway for one in routes)
    return next((one for one in gateways if isinstance(one, IPv6Address)), None)


def _open(interface: str) -> socket.socket:
    # Protocol 0 at first: to change one takes the kernel 10 ms.
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    link.bind((interface, _ETH_P_IPV6))
    return link


def _ask(link: socket.socket, own: bytes, gateway: IPv6Address) -> Router:
    question = _who_has(gateway, own)
    first = _dialogue(link, own, (question,), _GATEWAY_SECONDS, lambda one: one.address == gateway)
    if first is None:
        return Router(gateway)
    # A machine answers to several of these, or to one: each is worth a frame.
    questions = (
        _who_has(_DOCKERS, own),
        _who_has(_link_local(first.mac), own),
        _Question(_ALL_ROUTERS, struct.pack("!BxxxI", _ECHO_REQUEST, 0)),
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
    questions: Iterable[_Question],
    seconds: float,
    accept: Callable[[_Answer], bool],
) -> _Answer | None:
    """Ask, and again, until an answer is accepted or the time is over."""
    end = time.monotonic() + seconds
    packets = [(_packet(one, own), _multicast_mac(one.destination)) for one in questions]
    while time.monotonic() < end:
        for packet, mac in packets:
            link.sendto(packet, (link.getsockname()[0], _ETH_P_IPV6, 0, 0, mac))
        for answer in _heard(link, time.monotonic() + _INTERVAL):
            if accept(answer):
                return answer
    return None


def _heard(link: socket.socket, until: float) -> Iterator[_Answer]:
    while (left := until - time.monotonic()) > 0:
        if not select.select([link], [], [], left)[0]:
            return
        packet, sender = link.recvfrom(2048)
        address = _answered(packet)
        if address is not None:
            yield _Answer(address, sender[4])


def _answered(packet: bytes) -> IPv6Address | None:
    """The address for which a packet answers: an advertisement's target, an echo's source."""
    if len(packet) < _HEADER.size + 8:
        return None
    _, _, next_header, hop_limit, source, _ = _HEADER.unpack_from(packet)
    kind = packet[_HEADER.size]
    if next_header != _ICMPV6:
        return None
    if kind == _ECHO_REPLY:
        return IPv6Address(source)
    # Hop limit 255 proves that no router has forwarded it (RFC 4861 section 7.1.2).
    if kind == _ADVERTISEMENT and hop_limit == 255 and len(packet) >= 40 + _NEIGHBOUR.size:
        return IPv6Address(_NEIGHBOUR.unpack_from(packet, _HEADER.size)[2])
    return None


def _who_has(target: IPv6Address, own: bytes) -> _Question:
    """A neighbour solicitation to the target's solicited-node address, with our MAC in it."""
    node = IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + target.packed[13:])
    source_option = b"\x01\x01" + own
    return _Question(node, _NEIGHBOUR.pack(_SOLICITATION, 0, target.packed) + source_option)


def _packet(question: _Question, own: bytes) -> bytes:
    """The question in an IPv6 packet from the link-local address that our MAC makes."""
    source, destination = _link_local(own).packed, question.destination.packed
    length = len(question.message)
    pseudo = source + destination + struct.pack("!II", length, _ICMPV6)
    message = bytearray(question.message)
    message[2:4] = _checksum(pseudo + question.message).to_bytes(2, "big")
    return _HEADER.pack(6 << 28, length, _ICMPV6, 255, source, destination) + message


def _checksum(data: bytes) -> int:
    """RFC 1071; every message here is of even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _link_local(mac: bytes) -> IPv6Address:
    """RFC 4291 appendix A."""
    identifier = bytes((mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:]))
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


def _multicast_mac(destination: IPv6Address) -> bytes:
    """RFC 2464 section 7."""
    return b"\x33\x33" + destination.packed[12:]
