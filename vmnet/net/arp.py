"""ARP probes: is an IPv4 address in use on a link? (RFC 5227 section 2.1.1)"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from vmnet.errors import PrivilegeError

# The RFC spaces its three probes for links with seconds of delay. A container's link is a virtual
# switch or an overlay, which answers in well under a millisecond.
_PROBES, _INTERVAL = 3, 0.05
_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_HEAD = struct.Struct("!6s6sHHHBBH")  # Ethernet header, then ARP up to the operation
_BODY = struct.Struct("!6s4s6s4s")
_REQUEST = 1


def first_free(interface: str, candidates: Iterable[IPv4Address]) -> IPv4Address | None:
    """The first of the candidates that nobody on the interface's link holds or probes for as well.

    One after the other: who probes for several at a time takes them all from others that start at
    this moment. A free one takes 150 ms to tell, one that is held as long as its holder's answer.

    :raises PrivilegeError: raw sockets are not allowed here
    """
    with _open(interface) as link:
        mac = link.getsockname()[4]
        return next((one for one in candidates if not _is_claimed(link, mac, one)), None)


def _is_claimed(link: socket.socket, mac: bytes, candidate: IPv4Address) -> bool:
    for _ in range(_PROBES):
        link.send(_probe(mac, candidate))
        if candidate in _heard(link, mac, time.monotonic() + _INTERVAL):
            return True
    return False


def _open(interface: str) -> socket.socket:
    try:
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP))
    except PermissionError:
        raise PrivilegeError(
            f"no permission to send ARP probes on {interface}",
            "leave the container its NET_RAW capability, or set VMNET_BRIDGE_ADDRESS",
        ) from None
    link.bind((interface, _ETH_P_ARP))
    return link


def _probe(mac: bytes, target: IPv4Address) -> bytes:
    head = _HEAD.pack(_BROADCAST, mac, _ETH_P_ARP, 1, 0x0800, 6, 4, _REQUEST)
    return head + _BODY.pack(mac, bytes(4), bytes(6), target.packed)


def _heard(link: socket.socket, own_mac: bytes, until: float) -> Iterator[IPv4Address]:
    """Addresses that others claim, as they do so."""
    while (left := until - time.monotonic()) > 0:
        if not select.select([link], [], [], left)[0]:
            return
        frame = link.recv(2048)
        if len(frame) < _HEAD.size + _BODY.size:
            continue
        sender_mac, sender, _, target = _BODY.unpack_from(frame, _HEAD.size)
        if sender_mac != own_mac:
            # A probe for the same address has no sender address yet; its target is what it claims.
            yield IPv4Address(target if sender == bytes(4) else sender)
