"""The ports of the guest's addresses that the container keeps for its own services. Pure data."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from vmnet.model.base import frozen
from vmnet.model.identity import Route
from vmnet.model.ports import PortRange

_LOOPBACK, _LOOPBACK6 = IPv4Address("127.0.0.1"), IPv6Address("::1")


@frozen
class StandIn:
    """A link-local address of the container that replaces an address of the guest.

    The container's services see it as their own address. On the network it is the guest's.

    :param guest: the guest's address
    :param own: the container's address
    """

    guest: IPv4Address | IPv6Address
    own: IPv4Address | IPv6Address

    @property
    def loopback(self) -> IPv4Address | IPv6Address:
        """The loopback address of the same IP version."""
        return _LOOPBACK if self.guest.version == 4 else _LOOPBACK6


@frozen
class Kept:
    """The ports that the container keeps, and the addresses on which it serves them.

    :param ports: do not overlap
    :param stand_ins: none if the container has the guest's addresses itself
    :param routes: the container's way to the network, without sources
    """

    ports: tuple[PortRange, ...]
    stand_ins: tuple[StandIn, ...] = ()
    routes: tuple[Route, ...] = ()

    def __str__(self) -> str:
        return ", ".join(map(str, self.ports))

    def of_version(self, version: int) -> tuple[StandIn, ...]:
        """Return the stand-ins of IP version 4 or 6."""
        return tuple(each for each in self.stand_ins if each.guest.version == version)
