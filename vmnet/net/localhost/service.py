"""Give the container what it needs to reach the guest at loopback addresses."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network

from vmnet.model.identity import Route
from vmnet.model.wiring import Local, Port
from vmnet.net import links, neighbours, nft, rtnl
from vmnet.net.localhost import rules

_SETTING = "VMNET_LOCALHOST"


def check(port: Port) -> None:
    """Let the kernel check a port's rules without loading them.

    :raises vmnet.errors.BridgeError: nft is missing, or the kernel lacks what the rules need
    :raises vmnet.errors.PrivilegeError: the capability NET_ADMIN is missing
    """
    if port.localhost and port.local is not None:
        # The devices of the rules do not exist yet.
        commands = rules.tables(rules.End("lo", "lo", port.local.mac), port.localhost, ())
        nft.check({"nftables": commands}, _SETTING)


def load(ports: Sequence[Port]) -> None:
    """Load the rules of the port that serves localhost, if there is one.

    :raises vmnet.errors.BridgeError: nft is missing, or the kernel lacks what the rules need
    """
    for port in ports:
        if port.localhost and port.local is not None and port.tap is not None:
            end = rules.End(port.tap.name, port.local.device, port.local.mac)
            kept = port.kept.ports if port.kept is not None else ()
            nft.load({"nftables": rules.tables(end, port.localhost, kept)}, _SETTING)


def remove(ports: Sequence[Port]) -> None:
    """Remove the rules, if there are any.

    :raises vmnet.errors.BridgeError: nft is missing, or refuses
    """
    if any(port.localhost for port in ports):
        nft.load({"nftables": rules.no_tables()}, _SETTING)


def add_addresses(kernel: rtnl.Rtnl, port: Port, local: Local) -> None:
    """Give a port's own end the addresses from which the guest is reached, and the ways to it.

    Without the IPv4 route, a strict reverse path filter drops the guest's answers.
    """
    for stand_in in port.localhost:
        guest, own = stand_in.guest, stand_in.own
        address = ip_interface(own)
        if guest not in port.guest_addresses:
            with _unless_there():
                links.add_route(kernel, local.device, Route(ip_network(guest)))
        with _unless_there():
            links.add_address(kernel, local.device, address)
        if guest.version == 6:
            # The guest's answer to a solicitation would not pass the filter.
            with _unless_there():
                neighbours.add_neighbour(kernel, local.device, guest, port.guest_mac)


@contextmanager
def _unless_there() -> Iterator[None]:
    """Add something to a device that may have it: its uplink may be a new one."""
    try:
        yield
    except rtnl.RtnlError as error:
        if error.errno != errno.EEXIST:
            raise
