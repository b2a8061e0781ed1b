"""Gateways whose MAC the container has as a permanent entry; they may answer no ARP."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import evolve

from vmnet.api import CaptureError, Interface, Neighbour

Entries = Mapping[tuple[str, IPv4Address | IPv6Address], str]
"""MACs by the name of the interface and the address."""


def permanent() -> Entries:
    """Return all permanent neighbour entries.

    :raises CaptureError: the kernel refused
    """
    from vmnet.api import rtnl, snapshot

    try:
        with rtnl.Rtnl() as kernel:
            entries = snapshot.read(kernel, (rtnl.RTM_NEWNEIGH,))
        names = dict(socket.if_nameindex())
    except OSError as error:
        raise CaptureError(
            f"can't read the container's neighbours: {error.strerror or error}",
            "allow rtnetlink (AF_NETLINK) in the engine's seccomp profile",
        ) from error
    return {
        (names[index], ip_address(entry.address)): entry.mac
        for entry in entries
        for index in entry.indices
        if index in names and entry.mac
    }


def with_neighbours(interface: Interface, entries: Entries) -> Interface:
    """Return the interface with its IPv4 gateways that have an entry."""
    found = tuple(
        Neighbour(address, mac)
        for address, mac in _of_gateways(interface, entries)
        if isinstance(address, IPv4Address)
    )
    return evolve(interface, neighbours=found)


def not_carried(interfaces: Iterable[Interface], entries: Entries) -> Iterator[str]:
    """Describe the IPv6 gateways that have an entry, which no strategy hands over."""
    for interface in interfaces:
        for address, mac in _of_gateways(interface, entries):
            if isinstance(address, IPv6Address):
                yield f"the permanent MAC {mac} of the gateway {address} of {interface.name}"


def _of_gateways(
    interface: Interface, entries: Entries
) -> Iterator[tuple[IPv4Address | IPv6Address, str]]:
    for address in dict.fromkeys(route.gateway for route in interface.routes):
        if address is not None and (mac := entries.get((interface.name, address))):
            yield address, mac
