"""Make networks of namespaces: a LAN like Docker's, its containers, and a host beyond it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network

from attrs import define, field

from .namespace import Namespace, Nic, namespace

WORLD = "198.51.100.10"
WORLD6 = "2001:db8:51::10"

_cables = itertools.count(1)


@define
class Lan:
    """A bridge in a separate namespace, and the namespaces that a test connects to it."""

    host: Namespace
    """The namespace with the bridge, which is the LAN's gateway and routes."""
    bridge: str
    network: IPv4Network
    network6: IPv6Network | None
    mtu: int
    _stack: ExitStack
    _taken: set[IPv4Address] = field(factory=set, init=False)
    _world: Namespace | None = field(default=None, init=False)

    @property
    def gateway(self) -> str:
        """The bridge's IPv4 address."""
        return str(self.network[1])

    @property
    def gateway6(self) -> str | None:
        """The bridge's IPv6 address."""
        return str(self.network6[1]) if self.network6 else None

    def container(
        self,
        name: str = "web",
        *,
        address: str | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        ipv6: bool | str = False,
        gateway: str | bool = True,
        extra: Sequence[str] = (),
        routes: Sequence[str] = (),
        resolv_conf: str | None = None,
        hosts: str | None = None,
        hostname: str | None = None,
        domainname: str | None = None,
        kind: str = "veth",
    ) -> Namespace:
        """
        Make a container whose ``eth0`` is configured as by Docker. See :meth:`attach`.

        :param resolv_conf: the text of /etc/resolv.conf. By default, the gateway is nameserver.
        :param hosts: the text of /etc/hosts, by default what Docker writes.
        """
        made = self._stack.enter_context(
            namespace(
                name,
                hostname=hostname,
                domainname=domainname,
                resolv_conf=f"nameserver {self.gateway}\n" if resolv_conf is None else resolv_conf,
            )
        )
        # Docker 20.10 disables IPv6 and then enables it for interfaces with an IPv6 address.
        made.sysctl(net__ipv6__conf__all__disable_ipv6=1)
        nic = self.attach(
            made,
            address=address,
            mac=mac,
            mtu=mtu,
            ipv6=ipv6,
            gateway=gateway,
            extra=extra,
            routes=routes,
            kind=kind,
        )
        text = _docker_hosts(made.hostname, nic) if hosts is None else hosts
        (made.etc / "hosts").write_text(text)
        return made

    def station(self, name: str = "station", *, ipv6: bool = False) -> Namespace:
        """Make a plain host on the LAN, which sees containers from outside."""
        made = self._stack.enter_context(_plain(name))
        self.attach(made, ipv6=ipv6)
        return made

    def attach(
        self,
        container: Namespace,
        name: str = "eth0",
        *,
        address: str | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        ipv6: bool | str = False,
        gateway: str | bool = True,
        extra: Sequence[str] = (),
        routes: Sequence[str] = (),
        kind: str = "veth",
    ) -> Nic:
        """
        Give a namespace an interface on this LAN. A namespace may have several.

        :param address: with or without a prefix length, by default the LAN's next free address.
        :param mac: by default 02:42 and the four bytes of the address, as in Docker.
        :param ipv6: True to derive the IPv6 address from the IPv4 address, or the IPv6 address.
        :param gateway: True for the LAN's gateway, False for no default route, or an address.
        :param extra: further addresses, each as arguments of ``ip address add``.
        :param routes: each as arguments of ``ip route add``. They precede the default route.
        :param kind: ``macvlan`` for an interface as in Docker's networks of that driver; its mode
            may follow, as in ``macvlan mode private``.
        """
        own = self._address(address)
        mac = mac or "02:42:" + own.ip.packed.hex(":")
        mtu = mtu or self.mtu
        address6 = self._address6(own, ipv6)
        has_ipv6 = address6 or any(":" in more for more in extra)
        if has_ipv6:
            # Docker also enables IPv6 on loopback only for containers with an IPv6 address.
            container.sysctl(net__ipv6__conf__lo__disable_ipv6=0)
        # From here to the addresses, few programs: a running VM waits only seconds for them.
        if kind == "veth":
            port = self._plug(container, name, mtu)
        else:
            port = self._add_macvlan(container, name, kind)
        if has_ipv6:
            container.sysctl(**{f"net__ipv6__conf__{name}__disable_ipv6": 0})
        commands = [
            f"link set dev {name} address {mac} mtu {mtu}",
            f"address add {own} broadcast + dev {name}",
            *([f"address add {address6}/64 dev {name} nodad"] if address6 else ()),
            *(f"address add {more} dev {name}" for more in extra),
            f"link set dev {name} up",
            *(f"route add {route}" for route in routes),
        ]
        if gateway:
            via = self.gateway if gateway is True else str(gateway)
            commands.append(f"route add default via {via} dev {name}")
            if address6 and self.gateway6:
                commands.append(f"route add default via {self.gateway6} dev {name}")
        container.batch(commands)
        container.await_carriers(name)
        self.host.await_carriers(port)
        nic = Nic(name, mac, str(own.ip), own.network.prefixlen, address6, port)
        container.nics[name] = nic
        return nic

    def world(self) -> Namespace:
        """
        Return a host beyond the gateway, with the addresses 198.51.100.10 and 2001:db8:51::10.

        It has routes to all LANs of the gateway, so call this for only one of them.
        """
        if self._world is None:
            self._world = self._stack.enter_context(_plain("world"))
            self._route_to(self._world)
        return self._world

    def _route_to(self, world: Namespace) -> None:
        self._cable(world, "eth0", "world0")
        for end, name, last in ((world, "eth0", 10), (self.host, "world0", 1)):
            end.ip("address", "add", f"198.51.100.{last}/24", "dev", name)
            end.ip("address", "add", f"2001:db8:51::{last}/64", "dev", name, "nodad")
            end.ip("link", "set", name, "up")
        for end, name in ((world, "eth0"), (self.host, "world0")):
            end.await_carriers(name)
        world.ip("route", "add", "default", "via", "198.51.100.1")
        world.ip("-6", "route", "add", "default", "via", "2001:db8:51::1")

    def _plug(self, container: Namespace, name: str, mtu: int) -> str:
        """Connect a cable to the bridge, and leave the container's end down."""
        port = f"veth{next(_cables):x}"
        self._cable(container, name, port)
        self.host.ip("link", "set", port, "mtu", str(mtu), "master", self.bridge, "up")
        return port

    def _add_macvlan(self, container: Namespace, name: str, kind: str) -> str:
        """Add an interface on a NIC of the host that is connected to the bridge."""
        parent = f"{self.bridge[:9]}parent"
        if self.host.link(parent) is None:
            port = f"veth{next(_cables):x}"
            self.host.ip("link", "add", port, "type", "veth", "peer", "name", parent)
            self.host.sysctl(**{f"net__ipv6__conf__{parent}__disable_ipv6": 1})
            self.host.ip("link", "set", port, "mtu", str(self.mtu), "master", self.bridge, "up")
            self.host.ip("link", "set", parent, "mtu", str(self.mtu), "up")
            self.host.await_carriers(port)
        made = ("link", parent, "name", name, "netns", container.name, "type", *kind.split())
        self.host.ip("link", "add", *made)
        return parent

    def _cable(self, far: Namespace, far_name: str, near_name: str) -> None:
        far_end = ("peer", "name", far_name, "netns", far.name, "txqueuelen", "0")
        self.host.ip("link", "add", near_name, "txqueuelen", "0", "type", "veth", *far_end)

    def _address(self, wanted: str | None) -> IPv4Interface:
        if wanted is None:
            after_gateway = itertools.islice(self.network.hosts(), 1, None)
            wanted = str(next(free for free in after_gateway if free not in self._taken))
        prefix = "" if "/" in wanted else f"/{self.network.prefixlen}"
        address = IPv4Interface(wanted + prefix)
        self._taken.add(address.ip)
        return address

    def _address6(self, own: IPv4Interface, wanted: bool | str) -> str | None:
        if isinstance(wanted, str):
            return str(IPv6Address(wanted))
        if not wanted:
            return None
        assert self.network6, "this LAN has no IPv6: make it with ipv6=True"
        return str(self.network6[int(own.ip) & 0xFF])


@contextmanager
def lan(
    number: int = 1,
    *,
    ipv6: bool = False,
    mtu: int = 1500,
    bridge: str | None = None,
    host: Namespace | None = None,
) -> Iterator[Lan]:
    """
    Make a LAN with the network 172.30.NUMBER.0/24, and fd00:30:NUMBER::/64 if it has IPv6.

    Everything that is made with the LAN ends with the context.

    :param bridge: the bridge's name, by default docker0 for the first LAN and brNUMBER for others.
    :param host: the host of another LAN, for two LANs on one host like two Docker networks.
    """
    network = IPv4Network(f"172.30.{number}.0/24")
    network6 = IPv6Network(f"fd00:30:{number}::/64") if ipv6 else None
    bridge = bridge or ("docker0" if number == 1 else f"br{number}")
    with ExitStack() as stack:
        if host is None:
            host = stack.enter_context(_plain("host"))
            host.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        made = Lan(host, bridge, network, network6, mtu, stack)
        # As Docker does. By default, a bridge has the lowest MAC of its ports, which changes with
        # a further port; then frames to the MAC that others have learned are lost for up to 20 s.
        mac = f"02:42:{network[1].packed.hex(':')}"
        host.ip("link", "add", bridge, "address", mac, "mtu", str(mtu), "type", "bridge")
        host.ip("address", "add", f"{made.gateway}/24", "broadcast", "+", "dev", bridge)
        if made.gateway6:
            host.ip("address", "add", f"{made.gateway6}/64", "dev", bridge, "nodad")
        host.ip("link", "set", bridge, "up")
        yield made


@contextmanager
def _plain(label: str) -> Iterator[Namespace]:
    """Make a namespace that is no container, without the delay of duplicate address detection."""
    with namespace(label) as made:
        made.sysctl(net__ipv6__conf__default__accept_dad=0)
        yield made


def _docker_hosts(hostname: str, nic: Nic) -> str:
    standard = (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "ff00::0\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
    )
    own = [address for address in (nic.address, nic.address6) if address]
    return standard + "".join(f"{address}\t{hostname}\n" for address in own)
