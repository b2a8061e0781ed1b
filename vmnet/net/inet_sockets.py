"""TCP and UDP sockets in this network namespace, from sock_diag(7) or proc_pid_net(5).

They may belong to processes of other containers, which /proc does not show here.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from vmnet.model.base import frozen
from vmnet.model.ports import PortRange
from vmnet.net import dump

_FOLDER = Path("/proc/thread-self/net")
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST = struct.Struct("=BBxxI48x")  # struct inet_diag_req_v2
_REPLY = struct.Struct("=BBxx2s2x16s16x12x16xI")  # struct inet_diag_msg
_TIME_WAIT = 6
_STATES = 0xFFF & ~(1 << _TIME_WAIT)
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
# For each protocol the state of sockets that wait for any peer: TCP_LISTEN, TCP_CLOSE.
_WAITING = {"tcp": 10, "udp": 7}


@frozen
class InetSocket:
    """A socket of a process.

    :param listens: whether it waits for packets of any peer
    """

    protocol: str
    address: IPv4Address | IPv6Address
    port: int
    listens: bool

    def is_in(self, ports: PortRange) -> bool:
        return self.protocol == ports.protocol and self.port in ports

    def __str__(self) -> str:
        return f"{self.protocol.upper()} port {self.port}"


def find() -> tuple[InetSocket, ...]:
    """Return the sockets. A closed connection that lingers is none: it has no inode.

    /proc takes some ten milliseconds, because it visits every slot of the host's table of
    connections. A kernel without CONFIG_INET_DIAG has nothing else.
    """
    try:
        return tuple(_from_kernel())
    except OSError:
        return tuple(_from_proc())


def _from_kernel() -> Iterator[InetSocket]:
    """:raises OSError: the kernel has no sock_diag for TCP or UDP"""
    for protocol, number in _PROTOCOLS.items():
        for family, size in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
            request = _REQUEST.pack(family, number, _STATES)
            for body in dump.bodies(_SOCK_DIAG_BY_FAMILY, request, _NETLINK_SOCK_DIAG):
                _, state, port, address, inode = _REPLY.unpack_from(body)
                if inode:
                    yield InetSocket(
                        protocol,
                        _address(address[:size]),
                        int.from_bytes(port, "big"),
                        state == _WAITING[protocol],
                    )


def _from_proc() -> Iterator[InetSocket]:
    for protocol, waiting in _WAITING.items():
        for path in (_FOLDER / protocol, _FOLDER / f"{protocol}6"):
            if not path.exists():  # a kernel without IPv6
                continue
            for line in path.read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if int(rest[5]):
                    address, _, port = local.partition(":")
                    listens = int(state, 16) == waiting
                    yield InetSocket(protocol, _address(_packed(address)), int(port, 16), listens)


def listening_outside(kept: Iterable[PortRange] = ()) -> tuple[InetSocket, ...]:
    """Return the sockets on which programs listen for other machines, one for each port.

    :param kept: ports to leave out
    """
    found = (item for item in find() if item.listens and not item.address.is_loopback)
    known = tuple(kept)
    others = (item for item in found if not any(item.is_in(ports) for ports in known))
    return tuple({str(item): item for item in others}.values())


def is_used() -> bool:
    """Return whether a program listens for other machines, or is connected to one."""
    return any(not item.address.is_loopback for item in find())


def _packed(text: str) -> bytes:
    """Parse an address of /proc: words of 32 bits in the machine's byte order."""
    words = (int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    return b"".join(words)


def _address(packed: bytes) -> IPv4Address | IPv6Address:
    """Return the address. An IPv6 socket can have an IPv4 address, such as ::ffff:127.0.0.1."""
    found = ip_address(packed)
    return getattr(found, "ipv4_mapped", None) or found
