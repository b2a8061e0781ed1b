"""TCP and UDP sockets in this network namespace (proc_pid_net(5)).

They may belong to processes of other containers, which /proc does not show here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from attrs import frozen

_FOLDER = Path("/proc/thread-self/net")
# For each protocol the state of sockets that wait for any peer: TCP_LISTEN, TCP_CLOSE.
_WAITING = {"tcp": "0A", "udp": "07"}


@frozen
class InetSocket:
    """A socket of a process.

    :param listens: whether it waits for packets of any peer
    """

    protocol: str
    address: IPv4Address | IPv6Address
    port: int
    listens: bool

    def __str__(self) -> str:
        return f"{self.protocol.upper()} port {self.port}"


def find() -> Iterator[InetSocket]:
    """Yield the sockets. A closed connection that lingers is none: it has no inode."""
    for protocol, waiting in _WAITING.items():
        for path in (_FOLDER / protocol, _FOLDER / f"{protocol}6"):
            if not path.exists():  # a kernel without IPv6
                continue
            for line in path.read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if int(rest[5]):
                    address, _, port = local.partition(":")
                    yield InetSocket(protocol, _address(address), int(port, 16), state == waiting)


def listening_outside() -> tuple[str, ...]:
    """Return the ports on which programs listen for other machines."""
    found = (item for item in find() if item.listens and not item.address.is_loopback)
    return tuple(dict.fromkeys(map(str, found)))


def is_used() -> bool:
    """Return whether a program listens for other machines, or is connected to one."""
    return any(not item.address.is_loopback for item in find())


def _address(text: str) -> IPv4Address | IPv6Address:
    """Parse an address in the kernel's form: words of 32 bits in the machine's byte order."""
    words = (int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    return ip_address(b"".join(words))
