"""Wiring: how each of the container's interfaces reaches the guest. Pure data."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address

from vmnet.model.base import frozen


@frozen
class Requirements:
    """What the chosen IPAM strategies need of the bridge, known before it is planned.

    :param contain: this container answers DHCP, DHCPv6 or router solicitations itself, so such
        messages must neither leave through the uplink nor enter from it
    :param dns: the guest asks a DNS forwarder in the container, so one bridge needs an address
        that the guest reaches, and the forwarder a way to its upstream servers
    :param any_address: the guest's addresses come from elsewhere and can't be known here
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
class Record:
    """One rtnetlink message as the kernel dumped it, kept to be replayed.

    :param kind: the message's type (RTM_NEWADDR, RTM_NEWROUTE), see rtnetlink(7)
    :param body: the message without its header, in hexadecimal
    """

    kind: int
    body: str


@frozen
class Saved:
    """A NIC as it was, beside its MAC, which the guest has.

    :param queue_length: of its transmit queue, in frames
    :param addr_gen_mode: how it makes its IPv6 link-local address; None without IPv6
    :param records: its addresses and routes
    """

    up: bool
    queue_length: int
    addr_gen_mode: int | None
    records: tuple[Record, ...]


@frozen
class Sender:
    """Whom a guest may pass for in what it sends, beside its MAC, which is always its own.

    :param addresses: its own; None for any, where they come from elsewhere
    :param routers: link-local addresses of the network's routers, which are never its own
    """

    addresses: tuple[IPv4Address | IPv6Address, ...] | None = None
    routers: tuple[IPv6Address, ...] = ()


@frozen
class Port:
    """One interface's way to the guest: uplink, bridge, tap.

    :param uplink: the container's own NIC, a port of the bridge from now on
    :param uplink_mac: the NIC's new MAC; its old one is the guest's
    :param bridge_address: link-local, or a spare address of the NIC's subnet
    :param link_local: a further address of the bridge where the first one is not link-local: the
        same at every start
    :param spares: what may take the place of the first one, should somebody else claim it
    :param guest_addresses: IPv4 addresses that the bridge reaches on this link, for DNS answers
    :param owned: addresses that are certainly the guest's, so the bridge knows where they are, and
        the network can't claim them; none where they come from elsewhere
    :param contain: keep DHCP and router messages on this side of the uplink
    :param gateway: the bridge's own default gateway, where a process here must reach the network
    :param tap_fds: descriptor numbers the launcher inherits, one for each queue
    :param guest_mac: the MAC the container had
    :param mtu: in bytes
    :param saved: what restores the NIC exactly
    :param sender: whom the guest may pass for; None for anybody
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


@frozen
class Wiring:
    """All ports, in the order of the identity's interfaces.

    :param contain: this container answers DHCP itself
    :param nameserver: the bridge address on which a DNS forwarder answers the guest; None where
        the guest asks the container's nameservers itself
    """

    ports: tuple[Port, ...] = ()
    contain: bool = False
    nameserver: IPv4Address | None = None

    @property
    def stable_nameserver(self) -> IPv4Address | None:
        """Another address of the same bridge where the forwarder answers too.

        A spare address may differ from start to start, and be lost to somebody who claims it; this
        one is link-local (RFC 3927) and the same each time. ``nameserver`` where there is no other.
        """
        for port in self.ports:
            if port.link_local is not None and port.bridge_address.ip == self.nameserver:
                return port.link_local.ip
        return self.nameserver
