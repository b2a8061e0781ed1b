"""Programs that listen in this network namespace: sidecars, or the container's own programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from vmnet.api import frozen

_FOLDER = Path("/proc/thread-self/net")
# For each protocol the state of sockets that wait for any peer: TCP_LISTEN, TCP_CLOSE.
_WAITING = {"tcp": "0A", "udp": "07"}


@frozen
class Listener:
    """A socket that waits for packets."""

    protocol: str
    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        return f"{self.protocol.upper()} port {self.port}"


def find() -> Iterator[Listener]:
    """Yield the sockets that listen in this network namespace (proc_pid_net(5))."""
    for protocol, waiting in _WAITING.items():
        for path in (_FOLDER / protocol, _FOLDER / f"{protocol}6"):
            if not path.exists():  # a kernel without IPv6
                continue
            for line in path.read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == waiting:
                    address, _, port = local.partition(":")
                    yield Listener(protocol, _address(address), int(port, 16))


def outside() -> tuple[str, ...]:
    """Return the ports on which programs listen for other machines."""
    return tuple(dict.fromkeys(str(found) for found in find() if not found.address.is_loopback))


def _address(text: str) -> IPv4Address | IPv6Address:
    """Parse an address in the kernel's form: words of 32 bits in the machine's byte order."""
    words = (int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    return ip_address(b"".join(words))
