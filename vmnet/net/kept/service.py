"""Give the container what it needs to serve kept ports: rules, addresses and routes."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface

from vmnet.model.identity import Route
from vmnet.model.kept import Kept
from vmnet.model.wiring import Local, Port
from vmnet.net import links, nft, rtnl
from vmnet.net.kept import rules
from vmnet.net.nft_objects import Object

_SETTING = "VMNET_KEEP_PORTS"
_MIN_IPV6_MTU = 1280  # bytes (RFC 8200 section 5)
# A link's own addresses need fe80::/64, through which the kernel reaches link-local gateways.
_PREFIXES = {4: 32, 6: 64}


def check(ports: Sequence[Port]) -> None:
    """Let the kernel check the rules of all ports without loading them.

    :raises vmnet.errors.BridgeError: nft is missing, or the kernel lacks what the rules need
    :raises vmnet.errors.PrivilegeError: the capability NET_ADMIN is missing
    """
    if commands := _tables(ports):
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


def _tables(ports: Sequence[Port]) -> list[Object]:
    return [
        command
        for port in ports
        if port.kept is not None and port.local is not None
        for command in rules.table(port.uplink, port.guest_mac, port.local.mac, port.kept)
    ]


def add_addresses(kernel: rtnl.Rtnl, port: Port, local: Local, kept: Kept) -> None:
    """Add the container's addresses and routes to a port's own end of the link, which is up.

    ICMP errors for the guest's address reach the guest, so the container can't learn the MTU of a
    path. Beyond a gateway it therefore lets IPv4 routers fragment, and sends IPv6 packets of at
    most 1280 bytes.
    """
    there = local.addresses
    for stand_in in kept.stand_ins:
        own = stand_in.own
        if own not in [address.ip for address in there]:
            kind = IPv4Interface if own.version == 4 else IPv6Interface
            links.add_address(kernel, local.device, kind((own, _PREFIXES[own.version])))
    connected = [address.network for address in there]
    for route in kept.routes:
        if route.destination not in connected:
            _add_route(kernel, local.device, port.mtu, kept, route)


def _add_route(kernel: rtnl.Rtnl, device: str, link_mtu: int, kept: Kept, route: Route) -> None:
    if route.destination.version == 4:
        mtu = min(route.mtu or link_mtu, link_mtu) if route.gateway else None
        links.add_route(kernel, device, route, mtu=mtu)
    else:
        first, *_ = kept.of_version(6)
        mtu = _MIN_IPV6_MTU if route.gateway else None
        links.add_route(kernel, device, route, mtu=mtu, source=first.own)
