"""Find out whether the guest answers for its addresses.

Questions go out on the tap, so only the guest receives them. They are ARP requests (RFC 826) and
neighbour solicitations (RFC 4861) from the bridge's address. An ARP probe (RFC 5227), which has no
sender address, could make a guest that is just taking its address see a conflict and give it up.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from vmnet import engine
from vmnet.errors import PrivilegeError
from vmnet.net import ndp, packet_socket, packets
from vmnet.net.filters import cbpf
from vmnet.net.filters.cbpf import JEQ, LD, LDB, RET

_FILTER: cbpf.Program = {
    "start": [
        (LD, cbpf.PROTOCOL, 0, 0),
        (JEQ, packets.ETH_P_ARP, "accept", 0),
        (JEQ, packets.ETH_P_IPV6, 0, "drop"),
        (LDB, 6, 0, 0),  # the next header
        (JEQ, packets.ICMPV6, "accept", "drop"),
    ],
    "accept": [(RET, 2048, 0, 0)],  # bytes
    "drop": [(RET, 0, 0, 0)],
}
_INTERVAL = 0.1  # seconds between two queries

Address = IPv4Address | IPv6Address


def answering(
    tap: str, own_mac: bytes, own: IPv4Address, addresses: Iterable[Address], seconds: float
) -> frozenset[Address]:
    """Return the addresses that the guest behind the tap answers for.

    This takes about a millisecond if the guest answers for all of them, and ``seconds`` otherwise.

    :param own_mac: the bridge's MAC, to which the guest sends its answers
    :param own: the bridge's address
    :raises PrivilegeError: the process may not open raw sockets
    :raises OSError: the tap does not exist, or is down
    """
    missing = set(addresses)
    found: set[Address] = set()
    end = time.monotonic() + seconds
    with _open(tap) as link:
        while missing and (now := time.monotonic()) < end:
            for target in missing:
                if isinstance(target, IPv4Address):
                    packet = _request(own_mac, own, target)
                    link.sendto(packet, (tap, packets.ETH_P_ARP, 0, 0, packets.BROADCAST))
                else:
                    question = ndp.who_has(target, own_mac)
                    packet = ndp.packet(question, own_mac)
                    link.sendto(packet, (tap, packets.ETH_P_IPV6, 0, 0, question.mac))
            for packet, sender in packet_socket.receive(link, min(now + _INTERVAL, end)):
                answer = _answer(packet, sender)
                if answer in missing:
                    missing.remove(answer)
                    found.add(answer)
                if not missing:
                    break
    return frozenset(found)


def _open(tap: str) -> socket.socket:
    """Return a socket that receives ARP and ICMPv6 packets from the tap.

    The socket is for all protocols: a port of a bridge passes no frames to a socket for a single
    protocol. So a BPF program selects the packets.
    """
    try:
        link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except PermissionError:
        raise PrivilegeError(
            f"no permission to ask the guest on {tap}",
            engine.capability("NET_RAW"),
        ) from None
    packet_socket.attach_filter(link, cbpf.assemble(_FILTER))
    packet_socket.ignore_outgoing(link)
    link.bind((tap, packet_socket.ETH_P_ALL))
    return link


def _request(own_mac: bytes, own: IPv4Address, target: IPv4Address) -> bytes:
    return packets.arp_request(own_mac, own.packed, target.packed)


def _answer(packet: bytes, sender: tuple[str, int]) -> Address | None:
    """Return the address that a packet answers for, or None."""
    if sender[1] == packets.ETH_P_IPV6:
        return ndp.answered(packet)
    if len(packet) < packets.ARP.size:
        return None
    _, _, _, _, operation, _, address, _, _ = packets.ARP.unpack_from(packet)
    return IPv4Address(address) if operation == packets.ARP_REPLY else None
