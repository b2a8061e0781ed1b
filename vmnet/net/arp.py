"""ARP probes, which show whether an IPv4 address is in use on a link (RFC 5227 section 2.1.1)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from vmnet import engine
from vmnet.errors import PrivilegeError
from vmnet.net import packet_socket, packets

# The RFC spaces its three probes one to two seconds apart, for slow links. A container's link is a
# virtual switch or an overlay, where an answer takes well under a millisecond.
_PROBES, _INTERVAL = 3, 0.05


def first_free(interface: str, candidates: Iterable[IPv4Address]) -> IPv4Address | None:
    """Return the first candidate that no other machine on the link uses or probes for, or None.

    Candidates are probed one at a time: a machine that probed several would take all of them from
    machines that start at the same moment. A probe of a free address takes 150 ms; a probe of a
    used address ends with the first answer.

    :raises PrivilegeError: the process may not open raw sockets
    """
    with _open(interface) as link:
        mac = link.getsockname()[4]
        return next(
            (address for address in candidates if not _is_claimed(link, mac, address)), None
        )


def _is_claimed(link: socket.socket, mac: bytes, candidate: IPv4Address) -> bool:
    for _ in range(_PROBES):
        link.send(_probe(mac, candidate))
        if candidate in _claims(link, mac, time.monotonic() + _INTERVAL):
            return True
    return False


def _open(interface: str) -> socket.socket:
    try:
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(packets.ETH_P_ARP))
    except PermissionError:
        raise forbidden(interface) from None
    link.bind((interface, packets.ETH_P_ARP))
    return link


def forbidden(interface: str) -> PrivilegeError:
    """Return the error of a container that may not open raw sockets."""
    return PrivilegeError(
        f"no permission to send ARP probes on {interface}",
        f"{engine.capability('NET_RAW')}, or set VMNET_BRIDGE_ADDRESS",
        avoidable=True,
    )


def _probe(mac: bytes, target: IPv4Address) -> bytes:
    header = packets.ETHERNET.pack(packets.BROADCAST, mac, packets.ETH_P_ARP)
    return header + packets.arp_request(mac, bytes(4), target.packed)


def _claims(link: socket.socket, own_mac: bytes, until: float) -> Iterator[IPv4Address]:
    """Yield the addresses that other machines claim, as the claims arrive."""
    for frame, _ in packet_socket.receive(link, until):
        if len(frame) < packets.ETHERNET.size + packets.ARP.size:
            continue
        *_, sender_mac, sender, _, target = packets.ARP.unpack_from(frame, packets.ETHERNET.size)
        if sender_mac != own_mac:
            # A probe has no sender address yet; it claims its target.
            yield IPv4Address(target if sender == bytes(4) else sender)
