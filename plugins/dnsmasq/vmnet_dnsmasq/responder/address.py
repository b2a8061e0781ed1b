"""Change a bridge's IPv4 address and default route, by rtnetlink(7)."""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet_dnsmasq.helper import Own

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 20, 21, 24, 25
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_IFA_ADDRESS, _IFA_LOCAL, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 2, 4, 5, 7
_MAIN, _STATIC, _UNICAST, _ONLINK = 254, 4, 1, 4


def add(own: Own, packed: bytes) -> str:
    """Add an address to a bridge, and the default route if it has a gateway.

    :returns: the kernel's error; empty on success
    """
    requests = [_address(_NEWADDR, _CREATE, own, packed)]
    if own.gateway:
        requests.append(_default_route(_NEWROUTE, _CREATE | _REPLACE, own, packed))
    return _send(requests)


def remove(own: Own, packed: bytes) -> None:
    """Remove the default route and the address; ignore that they may be gone already."""
    if own.gateway:
        _send([_default_route(_DELROUTE, 0, own)])
    _send([_address(_DELADDR, 0, own, packed)])


def is_here(packed: bytes) -> bool:
    """Whether this network namespace has an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((socket.inet_ntoa(packed), 0))
        except OSError:
            return False
    return True


def _address(kind: int, flags: int, own: Own, packed: bytes) -> bytes:
    index = socket.if_nametoindex(own.bridge)
    body = struct.pack("=BBBBI", socket.AF_INET, own.prefix, 0, 0, index)  # struct ifaddrmsg
    body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    return _message(kind, flags, body)


def _default_route(kind: int, flags: int, own: Own, source: bytes = b"") -> bytes:
    index = struct.pack("=I", socket.if_nametoindex(own.bridge))
    table = (0, 0, 0, _MAIN, _STATIC, 0, _UNICAST, _ONLINK)
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, *table)  # struct rtmsg
    body += _attribute(_RTA_GATEWAY, socket.inet_aton(own.gateway)) + _attribute(_RTA_OIF, index)
    return _message(kind, flags, body + (_attribute(_RTA_PREFSRC, source) if source else b""))


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, 1, 0) + body


def _send(messages: list[bytes]) -> str:
    """Send messages until the kernel refuses one; return its error as text, empty on success."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        for message in messages:
            kernel.send(message)
            (code,) = struct.unpack_from("=i", kernel.recv(4096), _HEADER.size)
            if code:
                return os.strerror(-code)
    return ""
