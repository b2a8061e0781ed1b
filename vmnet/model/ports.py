"""Ports of TCP and UDP. Pure data."""

from __future__ import annotations

from vmnet.model.base import frozen


@frozen
class PortRange:
    """Ports of a protocol, from ``first`` to ``last``.

    :param protocol: ``tcp`` or ``udp``
    """

    protocol: str
    first: int
    last: int

    def __str__(self) -> str:
        span = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{span}/{self.protocol}"

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last
