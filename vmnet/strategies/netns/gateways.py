"""Gateways whose MAC the container has as a permanent entry; they may not resolve it themselves."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from attrs import evolve

from vmnet.api import CaptureError, Interface, Neighbour

Entries = Mapping[tuple[str, IPv4Address | IPv6Address], str]
"""MACs by the name of the interface and the address."""

_DISABLE_IPV6 = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")


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


def answerable(entries: Entries) -> Entries:
    """Return the entries for which a bridge in this namespace can answer the guest.

    A bridge has no IPv6 if new interfaces have none, as in Docker's containers.
    """
    try:
        has_ipv6 = _DISABLE_IPV6.read_text().strip() == "0"
    except FileNotFoundError:  # the kernel has no IPv6
        has_ipv6 = False
    return {
        (name, address): mac
        for (name, address), mac in entries.items()
        if has_ipv6 or isinstance(address, IPv4Address)
    }


def with_neighbours(interface: Interface, entries: Entries) -> Interface:
    """Return the interface with its gateways that have an entry."""
    found = _of_gateways(interface, entries)
    return evolve(interface, neighbours=tuple(Neighbour(address, mac) for address, mac in found))


def not_carried(interfaces: Iterable[Interface], entries: Entries) -> Iterator[str]:
    """Describe the gateways that have an entry but are no neighbours of their interface."""
    for interface in interfaces:
        known = {neighbour.address for neighbour in interface.neighbours}
        for address, mac in _of_gateways(interface, entries):
            if address not in known:
                yield (
                    f"the permanent MAC {mac} of the gateway {address} of {interface.name}: "
                    "a bridge in this container has no IPv6 "
                    "(set the sysctl net.ipv6.conf.default.disable_ipv6=0)"
                )


def _of_gateways(
    interface: Interface, entries: Entries
) -> Iterator[tuple[IPv4Address | IPv6Address, str]]:
    for address in dict.fromkeys(route.gateway for route in interface.routes):
        if address is not None and (mac := entries.get((interface.name, address))):
            yield address, mac
