"""The container's network identity: pure data that capture returns and later stages read."""

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
from vmnet.model.ports import PortRange

_MIN_IPV6_MTU = 1280  # bytes (RFC 8200 section 5)

Own = TypeVar("Own", bound=IPv4Interface | IPv6Interface)


@frozen
class Route:
    """A route through one interface, from the kernel's main table.

    :param destination: the prefix; ``0.0.0.0/0`` or ``::/0`` for a default route
    :param gateway: the next hop; None if the destination is on the link
    :param onlink: whether the gateway is outside every subnet of the interface
    :param metric: a lower metric is preferred; IPv4's default is 0
    :param source: the preferred source address
    :param mtu: in bytes, if the route sets an MTU
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
    """The next hop of an interface's IPv6 routes.

    Engines configure a gateway's global address. Router advertisements come from the gateway's
    link-local address (RFC 4861 section 4.2), which vmnet finds by neighbour discovery.

    :param gateway: the next hop that the routes name
    :param address: its link-local address; None if the gateway did not answer for one
    :param mac: the gateway's MAC: the container's permanent entry, or else the MAC that answered;
        empty if nothing answered, or if the gateway is link-local, so that vmnet did not ask
    """

    gateway: IPv6Address
    address: IPv6Address | None = None
    mac: str = ""


@frozen
class Neighbour:
    """A gateway whose MAC the container has as a permanent entry (ip-neighbour(8)).

    Such a gateway may answer no ARP and no neighbour discovery. AWS's CNI plugin configures pods
    like this.
    """

    address: IPv4Address | IPv6Address
    mac: str


@frozen
class Interface:
    """A network interface of the container, with its addresses and routes.

    :param kind: the link kind that rtnetlink reports (``veth``, ``macvlan`` …); empty for a
        physical NIC
    :param mtu: in bytes
    :param addresses: global addresses in the kernel's order; the first of a family is primary
    :param routes: IPv4 and IPv6 routes, except those that the kernel derives from the addresses
    :param router: None if no IPv6 route has a gateway
    :param off_link: prefixes of addresses whose other hosts are behind a gateway (CNI's ptp). The
        prefixes of all other addresses are on the link
    :param neighbours: gateways that the guest may not find by ARP or neighbour discovery
    """

    name: str
    mac: str
    mtu: int = 1500
    kind: str = ""
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    router: Router | None = None
    off_link: tuple[IPv4Network | IPv6Network, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()

    @property
    def ipv4(self) -> tuple[IPv4Interface, ...]:
        return tuple(address for address in self.addresses if isinstance(address, IPv4Interface))

    @property
    def ipv6(self) -> tuple[IPv6Interface, ...]:
        return tuple(address for address in self.addresses if isinstance(address, IPv6Interface))

    def on_link(self, own: Own) -> Own:
        """Return an address of the interface with the prefix whose hosts are neighbours.

        The prefix is the address's own, or /32 or /128 if the address's own is not on the link.
        """
        return type(own)((own.ip, own.max_prefixlen)) if own.network in self.off_link else own

    def is_neighbour(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether the interface reaches an address on the link without a further route.

        IPv6 link-local addresses always count: every link has fe80::/10, which no identity lists.
        """
        if isinstance(address, IPv6Address) and address.is_link_local:
            return True
        return any(address in self.on_link(own).network for own in self.addresses)

    @property
    def guest_mtu(self) -> int:
        """The MTU of the guest's NIC, in bytes: a default route of the container can lower it.

        Engines set the MTU of the route where only traffic to other networks is encapsulated. With
        IPv6 it is at least 1280, because a guest disables IPv6 on a NIC below that.
        """
        defaults = (self.default_route(4), self.default_route(6))
        limits = [route.mtu for route in defaults if route is not None and route.mtu]
        least = _MIN_IPV6_MTU if self.ipv6 else 0
        return min((self.mtu, *(max(limit, least) for limit in limits)))

    def routes_of(self, version: int) -> tuple[Route, ...]:
        """Return the routes of IP version 4 or 6."""
        return tuple(route for route in self.routes if route.destination.version == version)

    def default_route(self, version: int) -> Route | None:
        """Return the preferred default route of IP version 4 or 6."""
        defaults = [route for route in self.routes_of(version) if route.is_default]
        return min(defaults, key=lambda route: route.metric, default=None)


@frozen
class Resolver:
    """The configuration in resolv.conf(5), with the networks that the engine's nameserver knows.

    :param networks: the search domains that come from the engine's nameserver and not from
        resolv.conf. The nameserver answers ``db.NETWORK`` like ``db``; some resolvers never ask a
        nameserver for a single label
    """

    nameservers: tuple[IPv4Address | IPv6Address, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether a nameserver exists only inside the container (Docker's 127.0.0.11)."""
        return any(address.is_loopback for address in self.nameservers)


@frozen
class Host:
    """A line that an engine added to hosts(5): a link or ``--add-host``."""

    address: IPv4Address | IPv6Address
    names: tuple[str, ...]


@frozen
class BypassedRoute:
    """A route of the container whose traffic the guest sends another way, such as past a VPN.

    :param interface: an interface that stays with the container
    """

    interface: str
    route: Route

    def __str__(self) -> str:
        via = f" via {self.route.gateway}" if self.route.gateway else ""
        return f"the route to {self.route.destination}{via} through {self.interface}"


@frozen
class Identity:
    """Everything that passes from the container to the guest.

    :param interfaces: in the container's order, which is also the guest's
    :param domain: without a leading dot; empty if the container has no domain
    :param ntp: time servers from VMNET_NTP; engines configure none
    :param not_carried: one line for each part of the network that the capture can't hand over. They
        matter only if the guest gets the container's NICs
    :param bypassed: routes that the guest bypasses, if it gets the container's NICs
    :param listening: ports on which programs of the container listen for other machines
    """

    hostname: str
    domain: str = ""
    interfaces: tuple[Interface, ...] = ()
    resolver: Resolver = Resolver()
    hosts: tuple[Host, ...] = ()
    ntp: tuple[IPv4Address | IPv6Address, ...] = ()
    not_carried: tuple[str, ...] = ()
    bypassed: tuple[BypassedRoute, ...] = ()
    listening: tuple[PortRange, ...] = ()

    @property
    def resolver_options(self) -> tuple[str, ...]:
        """The resolver's options that have an effect.

        ``ndots`` decides when the search list is used (resolv.conf(5)). It has no effect if there
        is no list, or only the engine's networks: the engine answers ``db.NETWORK`` like ``db``.
        Docker writes ``ndots:0`` on every user-defined network.
        """
        searched = {*self.resolver.search, self.domain} - {"", ".", *self.resolver.networks}
        return tuple(
            option
            for option in self.resolver.options
            if searched or not option.startswith("ndots:")
        )
