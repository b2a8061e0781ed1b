"""The new MAC and IP addresses that the wiring needs for itself, made not to collide.

All are derived from the guest's MAC, so that a restart of the same container gets the same ones and
``vmnet plan`` shows what ``vmnet run`` will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import islice
from zlib import crc32

from vmnet.identity import Identity, Interface

# RFC 3927 section 2.1 reserves the first and last 256; these two are taken by convention.
_LINK_LOCAL = IPv4Network("169.254.0.0/16")
_TAKEN = frozenset((IPv4Address("169.254.1.1"), IPv4Address("169.254.169.254")))
_FAVOURITES, _CANDIDATES = 16, 64


def new_mac(guest_mac: str, role: str) -> str:
    """A locally administered unicast MAC, apart from Docker's 02:42 ones.

    :param role: what the MAC is for, to tell several derived ones apart
    """
    return "06:" + ":".join(f"{byte:02x}" for byte in _digest(guest_mac, role)[:5])


def link_local(guest_mac: str, identity: Identity) -> IPv4Interface:
    """A link-local host address (RFC 3927) that the identity does not mention."""
    mentioned = _mentioned(identity)
    for attempt in range(256):
        digest = _digest(guest_mac, f"link-local {attempt}")
        candidate = _LINK_LOCAL[((1 + digest[0] % 254) << 8) + digest[1]]
        if candidate not in mentioned and candidate not in _TAKEN:
            break
    return IPv4Interface((candidate, 32))


def spare_candidates(interface: Interface, identity: Identity) -> tuple[IPv4Interface, ...]:
    """Addresses of the interface's first subnet that may be free, the most promising first.

    There are none where that subnet is not on the link: an address of it would lead elsewhere.

    Engines allocate from the bottom of a subnet, so these come from its top. The order of the first
    ones follows from the MAC, so that machines that start at the same moment try different ones.
    Never among them: the subnet's own and broadcast address, a gateway, a nameserver or any host
    the identity knows.
    """
    if not interface.ipv4:
        return ()
    network = interface.on_link(interface.ipv4[0]).network
    mentioned = _mentioned(identity)
    free = (one for one in _from_the_top(network) if one not in mentioned)
    found = [IPv4Interface((one, network.prefixlen)) for one in islice(free, _CANDIDATES)]
    favourites = sorted(found[:_FAVOURITES], key=lambda one: _digest(interface.mac, str(one.ip)))
    return (*favourites, *found[_FAVOURITES:])


def _from_the_top(network: IPv4Network) -> Iterator[IPv4Address]:
    first, last = int(network.network_address), int(network.broadcast_address)
    return map(IPv4Address, range(last - 1, first, -1))


def _mentioned(identity: Identity) -> frozenset[object]:
    found: set[object] = set(identity.resolver.nameservers)
    found.update(host.address for host in identity.hosts)
    found.update(identity.ntp)
    for interface in identity.interfaces:
        found.update(one.ip for one in interface.addresses)
        found.update(route.gateway for route in interface.routes)
        found.update(route.source for route in interface.routes)
        found.update(
            route.destination.network_address
            for route in interface.routes
            if route.destination.prefixlen == route.destination.max_prefixlen
        )
    return frozenset(found)


def _digest(guest_mac: str, role: str) -> bytes:
    """Eight bytes that differ with the MAC and the role. They hide nothing, so a checksum will do:
    hashlib loads all of OpenSSL.
    """
    text = f"{guest_mac} {role}".encode()
    return b"".join(crc32(text, salt).to_bytes(4, "big") for salt in (1, 2))
