"""The wiring: how each of the container's interfaces reaches the guest. Pure data."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address

from vmnet.model.base import frozen
from vmnet.model.identity import Identity, Interface, Neighbour


@frozen
class Requirements:
    """The needs of the selected IPAM strategies, known before the bridge is planned.

    :param contain: this container answers DHCP, DHCPv6 or router solicitations itself, so such
        messages must neither leave nor enter through the uplink
    :param dns: the guest asks a DNS forwarder in the container. A bridge then needs an address that
        the guest reaches, and the forwarder must reach its upstream servers
    :param any_address: another system gives the guest its addresses, so vmnet cannot know them
    """

    contain: bool = False
    dns: bool = False
    any_address: bool = False

    def __or__(self, other: Requirements) -> Requirements:
        return Requirements(
            self.contain or other.contain,
            self.dns or other.dns,
            self.any_address or other.any_address,
        )


@frozen
class SavedMessage:
    """An rtnetlink message as the kernel dumped it, kept for the restoration.

    :param kind: the message's type (RTM_NEWADDR, RTM_NEWROUTE), see rtnetlink(7)
    :param body: the message without its header, in hexadecimal
    """

    kind: int
    body: str


@frozen
class Saved:
    """The state of a NIC before the start, without its MAC, which the guest gets.

    :param queue_length: the length of its transmit queue, in frames
    :param addr_gen_mode: how the kernel generates its IPv6 link-local address; None without IPv6
    :param messages: all that the kernel forgets when the NIC goes down: addresses, permanent
        neighbours, nexthop objects, routes
    """

    up: bool
    queue_length: int
    addr_gen_mode: int | None
    messages: tuple[SavedMessage, ...]


@frozen
class Sender:
    """Source addresses that the guest may use; its MAC is fixed.

    :param addresses: the guest's own addresses; None allows any, if they come from another system
    :param routers: link-local addresses of the network's routers, which the guest must not use
    """

    addresses: tuple[IPv4Address | IPv6Address, ...] | None = None
    routers: tuple[IPv6Address, ...] = ()


@frozen
class Port:
    """The path of one interface to the guest: uplink, bridge, tap.

    :param uplink: the container's NIC, which becomes a port of the bridge
    :param uplink_mac: the NIC's new MAC; the guest gets the old one
    :param bridge_address: link-local, or a spare address of the NIC's subnet
    :param link_local: a second address of the bridge, if ``bridge_address`` is not link-local; the
        same at every start
    :param spares: replacements for ``bridge_address``, if another machine claims it
    :param guest_addresses: IPv4 addresses that the bridge reaches on this link, for DNS answers
    :param owned: addresses that are certainly the guest's. The bridge knows their port, and drops
        claims from the network. Empty if another system gives the guest its addresses
    :param contain: keep DHCP and router messages on this side of the uplink
    :param gateway: the bridge's default gateway, if a process of the container must reach the
        network
    :param tap_fds: descriptor numbers that the launcher inherits, one for each queue
    :param guest_mac: the MAC that the container had
    :param mtu: in bytes
    :param saved: the state to restore the NIC to
    :param sender: source addresses that the guest may use; None if unrestricted
    :param neighbours: hosts behind the uplink for which the bridge answers the guest's ARP
    """

    uplink: str
    uplink_mac: str
    bridge: str
    bridge_mac: str
    tap: str
    tap_fds: tuple[int, ...]
    guest_mac: str
    mtu: int
    bridge_address: IPv4Interface
    saved: Saved
    guest_addresses: tuple[IPv4Address, ...] = ()
    contain: bool = False
    gateway: IPv4Address | None = None
    sender: Sender | None = None
    link_local: IPv4Interface | None = None
    spares: tuple[IPv4Interface, ...] = ()
    owned: tuple[IPv4Address | IPv6Address, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()


@frozen
class Wiring:
    """All ports, in the order of the identity's interfaces.

    :param contain: this container answers DHCP, DHCPv6 or router solicitations itself
    :param nameserver: the bridge address on which a DNS forwarder answers the guest; None if the
        guest asks the container's nameservers directly
    """

    ports: tuple[Port, ...] = ()
    contain: bool = False
    nameserver: IPv4Address | None = None

    def pairs(self, identity: Identity) -> tuple[tuple[Interface, Port], ...]:
        """Return each interface of the identity with its port."""
        return tuple(zip(identity.interfaces, self.ports, strict=True))

    @property
    def stable_nameserver(self) -> IPv4Address | None:
        """The link-local address (RFC 3927) on which the forwarder answers as well.

        It is the same at every start. A spare address can differ, and another machine can claim it.
        If the bridge has only one address, this is ``nameserver``.
        """
        for port in self.ports:
            if port.link_local is not None and port.bridge_address.ip == self.nameserver:
                return port.link_local.ip
        return self.nameserver
