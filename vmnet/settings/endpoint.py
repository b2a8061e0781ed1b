"""Where a service of the container listens, as a value of a variable."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from vmnet.settings.values import integer


class Endpoint(NamedTuple):
    """Where a service of the container listens.

    :param address: one of the container's addresses; None: all
    """

    address: IPv4Address | IPv6Address | None
    port: int

    @property
    def is_loopback(self) -> bool:
        return self.address is not None and self.address.is_loopback


def parse(value: str) -> Endpoint:
    """Parse a port, or an address and a port: 9100, 127.0.0.1:9100, [::1]:9100."""
    host, separator, port = value.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif ":" in host:
        host = "without brackets"
    try:
        address = ip_address(host) if separator else None
        if address is not None and (address.is_unspecified or "%" in host):
            raise ValueError
        return Endpoint(address, integer(1, 65535)(port))
    except ValueError:
        raise ValueError(
            "a port such as 9100, or an address with it such as 127.0.0.1:9100"
        ) from None
