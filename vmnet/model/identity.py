"""Identity: what the container owned on the network.

Pure data: what the capture stage returns and every later stage reads.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import TypeVar

from vmnet.model.base import frozen

Own = TypeVar("Own", bound=IPv4Interface | IPv6Interface)


@frozen
class Route:
    """A route through one interface, from the kernel's main table.

    :param destination: the prefix; ``0.0.0.0/0`` or ``::/0`` for a default route
    :param gateway: the next hop; None where the destination is on the link itself
    :param onlink: the gateway lies outside every subnet of the interface
    :param metric: lower is preferred; 0 is IPv4's own default
    :param source: the preferred source address
    :param mtu: in bytes, where the route sets one
    """

    destination: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address | None = None
    onlink: bool = False
    metric: int = 0
    source: IPv4Address | IPv6Address | None = None
    mtu: int | None = None

    @property
    def is_default(self) -> bool:
        return self.destination.prefixlen == 0


@frozen
class Router:
    """The next hop of an interface's IPv6 routes, as its neighbours know it.

    Engines configure a gateway's global address; router advertisements come from its link-local one
    (RFC 4861 section 4.2), which has to be asked for.

    :param gateway: the next hop that the routes name
    :param address: its link-local address; None where it tells none
    :param mac: the MAC that answered for the gateway; empty where nothing answered, or nothing was
        asked because the gateway is link-local itself
    """

    gateway: IPv6Address
    address: IPv6Address | None = None
    mac: str = ""


@frozen
class Interface:
    """One of the container's network interfaces and all it carried.

    :param kind: the link kind rtnetlink reports (``veth``, ``macvlan`` …), empty for a physical NIC
    :param mtu: in bytes
    :param addresses: global addresses in the kernel's order, the first of a family its primary one
    :param routes: IPv4 and IPv6, without those that the kernel derives from the addresses
    :param router: None where no IPv6 route has a gateway
    :param off_link: prefixes of addresses that are not on the link: their other hosts are no
        neighbours, but behind a gateway (CNI's ptp). The prefix of any other address is on the link
    """

    name: str
    mac: str
    mtu: int = 1500
    kind: str = ""
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    router: Router | None = None
    off_link: tuple[IPv4Network | IPv6Network, ...] = ()

    @property
    def ipv4(self) -> tuple[IPv4Interface, ...]:
        return tuple(one for one in self.addresses if isinstance(one, IPv4Interface))

    @property
    def ipv6(self) -> tuple[IPv6Interface, ...]:
        return tuple(one for one in self.addresses if isinstance(one, IPv6Interface))

    def on_link(self, own: Own) -> Own:
        """An address of the interface with the prefix whose hosts are neighbours.

        That is its own prefix, or itself alone (/32, /128) where its prefix is not on the link.
        """
        return type(own)((own.ip, own.max_prefixlen)) if own.network in self.off_link else own

    def is_neighbour(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether the interface's addresses put another one on the link, without any route.

        An IPv6 link-local one always is: every link has fe80::/10, though no identity lists it.
        """
        if isinstance(address, IPv6Address) and address.is_link_local:
            return True
        return any(address in self.on_link(own).network for own in self.addresses)

    def routes_of(self, version: int) -> tuple[Route, ...]:
        """The routes of IP version 4 or 6."""
        return tuple(one for one in self.routes if one.destination.version == version)

    def default_route(self, version: int) -> Route | None:
        """The preferred default route of IP version 4 or 6."""
        defaults = [one for one in self.routes_of(version) if one.is_default]
        return min(defaults, key=lambda one: one.metric, default=None)


@frozen
class Resolver:
    """What resolv.conf(5) said, and what the engine's nameserver says of itself.

    :param networks: those of the search domains that no file has: the engine answers ``db.NETWORK``
        as it does ``db``, which some resolvers never ask a nameserver for
    """

    nameservers: tuple[IPv4Address | IPv6Address, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether a nameserver exists only inside the container (Docker's 127.0.0.11)."""
        return any(one.is_loopback for one in self.nameservers)


@frozen
class Host:
    """A line of hosts(5) beyond the standard ones: a link, ``--add-host``."""

    address: IPv4Address | IPv6Address
    names: tuple[str, ...]


@frozen
class Identity:
    """Everything that passes from the container to the guest.

    :param interfaces: in the container's order, which becomes the guest's
    :param domain: without a leading dot; empty where the container has none
    :param ntp: time servers; containers know none, so these come from VMNET_NTP
    """

    hostname: str
    domain: str = ""
    interfaces: tuple[Interface, ...] = ()
    resolver: Resolver = Resolver()
    hosts: tuple[Host, ...] = ()
    ntp: tuple[IPv4Address | IPv6Address, ...] = ()

    @property
    def resolver_options(self) -> tuple[str, ...]:
        """The resolver's options that make a difference.

        ``ndots`` tells when the search list comes in, and nothing where there is none
        (resolv.conf(5)), or where a name says the same with its network as without. Docker writes
        ``ndots:0`` on every network of one's own.
        """
        searched = {*self.resolver.search, self.domain} - {"", ".", *self.resolver.networks}
        return tuple(
            one for one in self.resolver.options if searched or not one.startswith("ndots:")
        )
