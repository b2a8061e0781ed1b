"""Find out whether the guest answers for its addresses.

Questions go out on the tap, so only the guest receives them. They are ARP requests (RFC 826) and
neighbour solicitations (RFC 4861) from the bridge's address. An ARP probe (RFC 5227), which has no
sender address, could make a guest that is just taking its address see a conflict and give it up.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from array import array
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from vmnet.errors import PrivilegeError
from vmnet.net import ndp

_ETH_P_ALL, _ETH_P_ARP, _ICMPV6 = 3, 0x0806, 58
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST, _REPLY = 1, 2
_BROADCAST = b"\xff" * 6
_SO_ATTACH_FILTER, _SOL_PACKET, _PACKET_IGNORE_OUTGOING = 26, 263, 23
# Accept ARP and ICMPv6. Classic BPF (bpf(4)): code, jumps if true and if false, operand.
_SOCK_FILTER = struct.Struct("=HBBI")
_FILTER = (
    (0x20, 0, 0, 0xFFFFF000),  # load the protocol (SKF_AD_OFF + SKF_AD_PROTOCOL)
    (0x15, 3, 0, _ETH_P_ARP),
    (0x15, 0, 3, ndp.ETH_P_IPV6),
    (0x30, 0, 0, 6),  # load the next header
    (0x15, 0, 1, _ICMPV6),
    (0x06, 0, 0, 2048),  # accept
    (0x06, 0, 0, 0),  # drop
)
_INTERVAL = 0.25  # seconds; an emulated guest on a busy host answers slowly

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
                    link.sendto(packet, (tap, _ETH_P_ARP, 0, 0, _BROADCAST))
                else:
                    question = ndp.who_has(target, own_mac)
                    packet = ndp.packet(question, own_mac)
                    link.sendto(packet, (tap, ndp.ETH_P_IPV6, 0, 0, question.mac))
            until = min(now + _INTERVAL, end)
            while missing and (left := until - time.monotonic()) > 0:
                if select.select([link], [], [], left)[0]:
                    answer = _answer(*link.recvfrom(2048))
                    if answer in missing:
                        missing.remove(answer)
                        found.add(answer)
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
            "leave the container its NET_RAW capability",
        ) from None
    program = array("B", b"".join(_SOCK_FILTER.pack(*instruction) for instruction in _FILTER))
    address, length = program.buffer_info()
    sock_fprog = struct.pack("@HP", length // _SOCK_FILTER.size, address)
    link.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, sock_fprog)
    link.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    link.bind((tap, _ETH_P_ALL))
    return link


def _request(own_mac: bytes, own: IPv4Address, target: IPv4Address) -> bytes:
    return _ARP.pack(1, 0x0800, 6, 4, _REQUEST, own_mac, own.packed, bytes(6), target.packed)


def _answer(packet: bytes, sender: tuple[str, int]) -> Address | None:
    """Return the address that a packet answers for, or None."""
    if sender[1] == ndp.ETH_P_IPV6:
        return ndp.answered(packet)
    if len(packet) < _ARP.size:
        return None
    _, _, _, _, operation, _, address, _, _ = _ARP.unpack_from(packet)
    return IPv4Address(address) if operation == _REPLY else None
