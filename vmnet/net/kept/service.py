"""Give the container what it needs to serve kept ports: rules, addresses and routes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from vmnet.model.identity import Route
from vmnet.model.kept import Kept
from vmnet.model.wiring import Local, Port, Redirect
from vmnet.net import links, nft, routing_rules, rtnl
from vmnet.net.kept import rules
from vmnet.net.nft_objects import Object

_SETTING = "VMNET_KEEP_PORTS or VMNET_METRICS"
_MIN_IPV6_MTU = 1280  # bytes (RFC 8200 section 5)
# A link's own addresses need fe80::/64, through which the kernel reaches link-local gateways.
_PREFIXES = {4: 32, 6: 64}
_TABLE = 8006  # of routes


def check(ports: Sequence[Port]) -> None:
    """Let the kernel check the rules of all ports without loading them.

    :raises vmnet.errors.BridgeError: nft is missing, or the kernel lacks what the rules need
    :raises vmnet.errors.PrivilegeError: the capability NET_ADMIN is missing
    """
    if commands := _tables(ports, planned=True):
        nft.check({"nftables": commands}, _SETTING)


def load(ports: Sequence[Port]) -> None:
    """Load the rules of all ports.

    :raises vmnet.errors.BridgeError: nft is missing, or the kernel lacks what the rules need
    :raises vmnet.errors.PrivilegeError: the capability NET_ADMIN is missing
    """
    if commands := _tables(ports):
        nft.load({"nftables": commands}, _SETTING)


def remove(ports: Sequence[Port]) -> None:
    """Remove the rules of these ports, if there are any.

    :raises vmnet.errors.BridgeError: nft is missing, or refuses
    """
    uplinks = [port.uplink for port in ports if port.kept is not None]
    if commands := [command for uplink in uplinks for command in rules.no_table(uplink)]:
        nft.load({"nftables": commands}, _SETTING)


def _tables(ports: Sequence[Port], *, planned: bool = False) -> list[Object]:
    """:param planned: only the uplinks exist"""
    return [
        command
        for port in ports
        if port.kept is not None
        for command in rules.table(_place(port, planned), port.kept)
    ]


def _place(port: Port, planned: bool) -> rules.Place:
    assert port.local is not None
    assert port.tap is not None
    redirected = isinstance(port.path, Redirect)
    way_out = port.way_out.device if redirected and port.way_out else ""
    return rules.Place(
        port.uplink,
        "lo" if planned else port.tap.name,
        port.guest_mac,
        port.guest_mac if redirected else port.local.mac,
        "" if planned else way_out,
    )


def add_addresses(kernel: rtnl.Rtnl, port: Port, local: Local, kept: Kept) -> None:
    """Add the container's addresses and routes to a port's bridge, which is up.

    ICMP errors for the guest's address reach the guest, so the container can't learn the MTU of a
    path. Beyond a gateway it therefore lets IPv4 routers fragment, and sends IPv6 packets of at
    most 1280 bytes.
    """
    there = local.addresses
    _add_stand_ins(kernel, local.device, kept, [address.ip for address in there])
    connected = [address.network for address in there]
    for route in kept.routes:
        if route.destination not in connected:
            _add_route(kernel, local.device, port.mtu, kept, route)


def add_uplink_addresses(kernel: rtnl.Rtnl, port: Port, kept: Kept) -> None:
    """Add the container's addresses and routes to a redirected uplink; see :func:`add_addresses`.

    If another device has a spare address of the subnet, its routes come first, so the IPv4 routes
    of the uplink are in a table of their own, for packets from these addresses.
    """
    _add_stand_ins(kernel, port.uplink, kept, ())
    table = _TABLE if port.way_out is not None else links.MAIN_TABLE
    for route in kept.routes:
        _add_route(kernel, port.uplink, port.mtu, kept, route, table)
    if port.way_out is not None:
        for source in _sources(kept):
            routing_rules.add(kernel, source, _TABLE)


def remove_uplink_addresses(kernel: rtnl.Rtnl, port: Port, kept: Kept) -> None:
    """Remove what :func:`add_uplink_addresses` added, if it is there."""
    links.delete_addresses(kernel, port.uplink)
    links.delete_routes(kernel, port.uplink)
    if port.way_out is not None:
        for source in _sources(kept):
            routing_rules.remove(kernel, source, _TABLE)


def _sources(kept: Kept) -> Iterator[IPv4Address]:
    for stand_in in kept.stand_ins:
        if isinstance(stand_in.own, IPv4Address):
            yield stand_in.own


def _add_stand_ins(
    kernel: rtnl.Rtnl, device: str, kept: Kept, there: Collection[IPv4Address]
) -> None:
    for stand_in in kept.stand_ins:
        own = stand_in.own
        if own not in there:
            kind = IPv4Interface if own.version == 4 else IPv6Interface
            links.add_address(kernel, device, kind((own, _PREFIXES[own.version])))


def _add_route(
    kernel: rtnl.Rtnl,
    device: str,
    link_mtu: int,
    kept: Kept,
    route: Route,
    table: int = links.MAIN_TABLE,
) -> None:
    if route.destination.version == 4:
        mtu = min(route.mtu or link_mtu, link_mtu) if route.gateway else None
        links.add_route(kernel, device, route, mtu=mtu, table=table)
    else:
        first, *_ = kept.of_version(6)
        mtu = _MIN_IPV6_MTU if route.gateway else None
        links.add_route(kernel, device, route, mtu=mtu, source=first.own)
