"""The wiring: how each of the container's interfaces reaches the guest. Pure data."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from pathlib import Path

from vmnet.model.base import frozen
from vmnet.model.identity import Identity, Interface, Neighbour
from vmnet.model.kept import Kept, StandIn


@frozen
class Requirements:
    """The needs of the selected IPAM strategies, known before the bridge is planned.

    :param contain: this container answers DHCP, DHCPv6 or router solicitations itself, so such
        messages must neither leave nor enter through the uplink
    :param dns: the guest asks a DNS forwarder in the container. The container then needs an address
        that the guest reaches, and the forwarder must reach its upstream servers
    :param any_address: another system gives the guest its addresses, so vmnet cannot know them
    :param claims: a daemon of the strategy takes a spare address after QEMU's start, so planning
        need not look for a free one
    """

    contain: bool = False
    dns: bool = False
    any_address: bool = False
    claims: bool = False

    def __or__(self, other: Requirements) -> Requirements:
        return Requirements(
            self.contain or other.contain,
            self.dns or other.dns,
            self.any_address or other.any_address,
            self.claims or other.claims,
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
class Tap:
    """The back end of a guest's NIC: a tap that the launcher inherits open.

    :param name: the tap's name in the container
    :param fds: its descriptors, one for each queue
    """

    name: str
    fds: tuple[int, ...]


@frozen
class Stream:
    """The back end of a guest's NIC: a Unix stream socket on which a helper exchanges frames.

    QEMU connects to it with ``-netdev stream``.
    """

    path: Path


@frozen
class Local:
    """The container's own end of a guest's link, where vmnet's helpers serve DHCP and DNS.

    :param device: the network device: the bridge, or a tap without a bridge
    :param mac: the device's MAC
    :param address: link-local, or a spare address of the NIC's subnet
    :param link_local: a second address, if ``address`` is not link-local; the same at every start
    :param spares: replacements for ``address``, if another machine claims it. If ``link_local`` is
        None, a daemon adds the first free spare address, and the default route, after QEMU's start.
        A tap without a bridge has the address of ``Redirect.outside``, for the guest alone
    :param gateway: the device's default gateway, if a process of the container must reach the
        network
    """

    device: str
    mac: str
    address: IPv4Interface
    link_local: IPv4Interface | None = None
    spares: tuple[IPv4Interface, ...] = ()
    gateway: IPv4Address | None = None

    @property
    def addresses(self) -> tuple[IPv4Interface, ...]:
        """The device's addresses at the start."""
        return (self.address,) if self.link_local is None else (self.address, self.link_local)

    @property
    def candidates(self) -> tuple[IPv4Interface, ...]:
        """The addresses of the subnet that the device may have, one at a time."""
        return self.spares if self.link_local is None else (self.address, *self.spares)


@frozen
class Bridge:
    """A Linux bridge connects the uplink and the tap. It is the container's own end, too.

    :param uplink_mac: the uplink's new MAC; the guest gets the old one
    """

    uplink_mac: str


@frozen
class Outside:
    """A device of the container on a guest's network, which has an address of its own there.

    It is a sibling of the uplink. Through it, processes of the container reach the network.

    :param device: the network device
    :param mac: the device's MAC; that of the guest on ipvlan
    :param address: a spare address of the NIC's subnet; None if a daemon adds the first free one of
        ``spares``, and the default route, after QEMU's start
    :param spares: replacements for ``address``, if another machine claims it
    :param gateway: the device's default gateway
    """

    device: str
    mac: str
    address: IPv4Interface | None
    spares: tuple[IPv4Interface, ...] = ()
    gateway: IPv4Address | None = None

    @property
    def candidates(self) -> tuple[IPv4Interface, ...]:
        """The addresses of the subnet that the device may have, one at a time."""
        return self.spares if self.address is None else (self.address, *self.spares)


@frozen
class Redirect:
    """Filters send the frames of the uplink and the tap to each other. The uplink keeps its MAC.

    The container's own end is the tap.

    :param kind: the uplink's kind: macvlan, ipvlan, veth …; empty for hardware
    :param flags: those flags of the uplink that the strategy changes, before the start
    :param outside: None if no process of the container must reach the network
    """

    kind: str
    flags: int = 0
    outside: Outside | None = None

    @property
    def is_sibling(self) -> bool:
        """Whether the kernel gives frames for ``outside`` to it without passing the uplink."""
        return self.kind in ("macvlan", "ipvlan")

    @property
    def shares_mac(self) -> bool:
        """Whether machines on the network have the guest's MAC as well."""
        return self.kind == "ipvlan"


@frozen
class UserMode:
    """A process turns the guest's connections into sockets. The uplink stays as it is.

    :param program: the name of the process
    """

    program: str


@frozen
class Custom:
    """A strategy of another package connects the NIC to the guest.

    :param description: a few words to display, such as ``macvtap0``
    """

    description: str


@frozen
class Port:
    """The path of one interface to the guest: the uplink, what lies behind it, the guest's NIC.

    :param uplink: the container's NIC
    :param guest_mac: the MAC that the container had
    :param mtu: in bytes
    :param saved: the state to restore the uplink to
    :param backend: what the hypervisor connects the guest's NIC to
    :param path: what lies between the uplink and the back end
    :param local: the container's own end of the link; None if it has none, and cannot serve the
        guest. A port with an own end has a tap
    :param guest_addresses: IPv4 addresses that the own end reaches on this link, for DNS answers
    :param contain: keep DHCP and router messages on this side of the uplink
    :param sender: source addresses that the guest may use; None if unrestricted
    :param owned: addresses that are certainly the guest's. Claims from the network are dropped.
        Empty if another system gives the guest its addresses
    :param neighbours: hosts behind the uplink for which the own end answers the guest's ARP
    :param kept: ports of the guest's addresses that the container keeps
    :param localhost: the guest's address that programs of the container reach at 127.0.0.1, and the
        address from which they do; the same for ::1
    :param strategy_data: text of the bridge strategy, such as JSON, which is saved with the wiring
        for the restoration; vmnet does not read it
    """

    uplink: str
    guest_mac: str
    mtu: int
    saved: Saved
    backend: Tap | Stream
    path: Bridge | Redirect | UserMode | Custom
    local: Local | None = None
    guest_addresses: tuple[IPv4Address, ...] = ()
    contain: bool = False
    sender: Sender | None = None
    owned: tuple[IPv4Address | IPv6Address, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    kept: Kept | None = None
    localhost: tuple[StandIn, ...] = ()
    strategy_data: str = ""

    @property
    def tap(self) -> Tap | None:
        """The tap; None with another back end."""
        return self.backend if isinstance(self.backend, Tap) else None

    @property
    def way_out(self) -> Local | Outside | None:
        """The device that has, or takes, a spare address of the NIC's subnet; None without one.

        Through it, processes of the container reach the network.
        """
        if isinstance(self.path, Redirect):
            return self.path.outside
        has_spare = self.local is not None and bool(self.local.candidates)
        return self.local if has_spare else None


@frozen
class Wiring:
    """All ports, in the order of the identity's interfaces.

    :param contain: this container answers DHCP, DHCPv6 or router solicitations itself
    :param nameserver: the address at which a DNS forwarder answers the guest, on the container's
        own end of a link or, without own ends, in the link itself; None if the guest asks the
        container's nameservers directly
    :param strategy: the bridge strategy that planned the wiring; vmnet sets it
    """

    ports: tuple[Port, ...] = ()
    contain: bool = False
    nameserver: IPv4Address | None = None
    strategy: str = ""

    def pairs(self, identity: Identity) -> tuple[tuple[Interface, Port], ...]:
        """Return each interface of the identity with its port."""
        return tuple(zip(identity.interfaces, self.ports, strict=True))

    @property
    def takes_uplinks(self) -> bool:
        """Whether the guest has the uplinks instead of the container's own programs.

        In user mode, these keep the network, and the container's routes apply to the guest as well.
        """
        return not all(isinstance(port.path, UserMode) for port in self.ports)

    @property
    def stable_nameserver(self) -> IPv4Address | None:
        """The link-local address (RFC 3927) on which the forwarder answers as well.

        It is the same at every start. A spare address can differ, and another machine can claim it.
        If the own end has only one address, this is ``nameserver``.
        """
        for port in self.ports:
            own = port.local
            if own is not None and own.link_local is not None and own.address.ip == self.nameserver:
                return own.link_local.ip
        return self.nameserver

    def forwards(self, port: Port) -> bool:
        """Whether a DNS forwarder answers the guest on a port."""
        return port.local is not None and port.local.address.ip == self.nameserver

    @property
    def needs_forwarder(self) -> bool:
        """Whether a process of the container must answer the guest's DNS queries."""
        return any(map(self.forwards, self.ports))
