"""Change a bridge's IPv4 address and default route, by rtnetlink(7)."""

from __future__ import annotations

import socket
import struct

from vmnet.net import netlink
from vmnet.net.netlink import attribute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet_dnsmasq.responder_delivery import BridgeAddress

_NEWLINK, _GETLINK, _IFF_RUNNING = 16, 18, 0x40
_NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 20, 21, 24, 25
_REPLACE, _CREATE = 0x100, 0x400
_IFA_ADDRESS, _IFA_LOCAL, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 2, 4, 5, 7
_MAIN, _STATIC, _UNICAST, _ONLINK = 254, 4, 1, 4
_HOST = 32  # prefix length


def add(config: BridgeAddress, packed: bytes) -> str:
    """Add an address to a bridge, and the default route if it has a gateway.

    :returns: the kernel's error; empty on success
    """
    requests = _addresses(_NEWADDR, _CREATE, config, packed)
    if config.gateway:
        requests.append(_default_route(_NEWROUTE, _CREATE | _REPLACE, config, packed))
    return _send(requests)


def remove(config: BridgeAddress, packed: bytes) -> None:
    """Remove the default route and the address; ignore that they may be gone already."""
    if config.gateway:
        _send([_default_route(_DELROUTE, 0, config)])
    for request in _addresses(_DELADDR, 0, config, packed):
        _send([request])


def is_here(packed: bytes) -> bool:
    """Whether this network namespace has an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((socket.inet_ntoa(packed), 0))
        except OSError:
            return False
    return True


def is_running(name: str) -> bool:
    """Whether a link's carrier is up and the kernel has seen that: a bridge forwards through it."""
    try:
        index = socket.if_nametoindex(name)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            request = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)  # struct ifinfomsg
            kernel.send(netlink.message(_GETLINK, 0, request))
            (kind, *_, answer), *_ = netlink.messages(kernel.recv(4096))
    except OSError:  # the link is gone
        return False
    (flags,) = struct.unpack_from("=I", answer, 8)
    return kind == _NEWLINK and bool(flags & _IFF_RUNNING)


def _addresses(kind: int, flags: int, config: BridgeAddress, packed: bytes) -> list[bytes]:
    requests = [_address(kind, flags, config.bridge, config.prefix, packed)]
    if config.guests_end:
        requests.append(_address(kind, flags, config.guests_end, _HOST, packed))
    return requests


def _address(kind: int, flags: int, device: str, prefix: int, packed: bytes) -> bytes:
    index = socket.if_nametoindex(device)
    body = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, index)  # struct ifaddrmsg
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    return netlink.message(kind, netlink.ACK | flags, body)


def _default_route(kind: int, flags: int, config: BridgeAddress, source: bytes = b"") -> bytes:
    index = struct.pack("=I", socket.if_nametoindex(config.bridge))
    table = (0, 0, 0, _MAIN, _STATIC, 0, _UNICAST, _ONLINK)
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, *table)  # struct rtmsg
    body += attribute(_RTA_GATEWAY, socket.inet_aton(config.gateway)) + attribute(_RTA_OIF, index)
    body += attribute(_RTA_PREFSRC, source) if source else b""
    return netlink.message(kind, netlink.ACK | flags, body)


def _send(messages: list[bytes]) -> str:
    """Send messages until the kernel refuses one; return its error as text, empty on success."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        for message in messages:
            kernel.send(message)
            try:
                for *_, body in netlink.messages(kernel.recv(4096)):
                    netlink.raise_if_refused(body)
            except OSError as error:
                return str(error.strerror)
    return ""
