"""MAC and IP addresses for the uplink and the bridge, chosen so that they do not collide.

They are derived from the guest's MAC, so a restarted container gets the same addresses and
``vmnet plan`` shows what ``vmnet run`` uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from itertools import islice
from zlib import crc32

from vmnet.api import Identity, Interface

# RFC 3927 section 2.1 reserves the first and last 256 addresses.
_LINK_LOCAL = IPv4Network("169.254.0.0/16")
# In common use: a gateway on container networks, and the metadata service of clouds.
_WELL_KNOWN = frozenset((IPv4Address("169.254.1.1"), IPv4Address("169.254.169.254")))
_SHUFFLED, _CANDIDATES = 16, 64


def new_mac(guest_mac: str, role: str) -> str:
    """Return a locally administered unicast MAC that is outside Docker's 02:42 range.

    :param role: the purpose of the MAC; each role gets a different MAC
    """
    return "06:" + ":".join(f"{byte:02x}" for byte in _digest(guest_mac, role)[:5])


def link_local(guest_mac: str, identity: Identity, role: str = "link-local") -> IPv4Interface:
    """Return a link-local host address (RFC 3927) that does not occur in the identity.

    :param role: the purpose of the address; each role gets a different address
    """
    used = _used_addresses(identity)
    for attempt in range(256):
        digest = _digest(guest_mac, f"{role} {attempt}")
        candidate = _LINK_LOCAL[((1 + digest[0] % 254) << 8) + digest[1]]
        if candidate not in used and candidate not in _WELL_KNOWN:
            break
    return IPv4Interface((candidate, 32))


def ipv6_link_local(mac: str) -> IPv6Address:
    """Return the link-local address that a MAC makes (RFC 4291 appendix A)."""
    from vmnet.api import packets

    return IPv6Address(packets.link_local(packets.mac_bytes(mac)))


def neutral_mac(guest_mac: str, role: str) -> str:
    """Return a MAC like :func:`new_mac` that can replace the guest's without changing a checksum.

    Both have the same sum of words (RFC 1071).
    """
    from vmnet.api import packets

    first = packets.mac_bytes(new_mac(guest_mac, role))[:4]
    last = _balance(packets.mac_bytes(guest_mac), first)
    return ":".join(f"{byte:02x}" for byte in first + last)


def neutral_link_local(address: IPv6Address, guest_mac: str, role: str) -> IPv6Address:
    """Return a link-local address that can replace an address without changing a checksum."""
    first = b"\xfe\x80".ljust(8, b"\0") + _digest(guest_mac, role)[:6]
    return IPv6Address(first + _balance(address.packed, first))


def _balance(whole: bytes, part: bytes) -> bytes:
    """Return the last word that gives ``part`` the same sum as ``whole``."""
    return ((_sum(whole) - _sum(part)) % 0xFFFF).to_bytes(2, "big")


def _sum(words: bytes) -> int:
    """Return the sum of 16-bit words."""
    return sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, len(words), 2))


def spare_candidates(interface: Interface, identity: Identity) -> tuple[IPv4Interface, ...]:
    """Return addresses of the interface's first subnet that may be free, in the order to try them.

    Return none if the subnet is not on the link.

    Engines allocate from the bottom of a subnet, so the candidates come from its top. The MAC
    determines the order of the first 16, so machines that start together try different addresses.
    They exclude the network and broadcast addresses and every host that the identity mentions.
    """
    if not interface.ipv4:
        return ()
    network = interface.on_link(interface.ipv4[0]).network
    used = _used_addresses(identity)
    unused = (address for address in _hosts_descending(network) if address not in used)
    candidates = [
        IPv4Interface((address, network.prefixlen)) for address in islice(unused, _CANDIDATES)
    ]
    shuffled = sorted(
        candidates[:_SHUFFLED], key=lambda candidate: _digest(interface.mac, str(candidate.ip))
    )
    return (*shuffled, *candidates[_SHUFFLED:])


def _hosts_descending(network: IPv4Network) -> Iterator[IPv4Address]:
    first, last = int(network.network_address), int(network.broadcast_address)
    return map(IPv4Address, range(last - 1, first, -1))


def _used_addresses(identity: Identity) -> frozenset[object]:
    used: set[object] = set(identity.resolver.nameservers)
    used.update(host.address for host in identity.hosts)
    used.update(identity.ntp)
    for interface in identity.interfaces:
        used.update(address.ip for address in interface.addresses)
        used.update(route.gateway for route in interface.routes)
        used.update(route.source for route in interface.routes)
        used.update(
            route.destination.network_address
            for route in interface.routes
            if route.destination.prefixlen == route.destination.max_prefixlen
        )
    return frozenset(used)


def _digest(guest_mac: str, role: str) -> bytes:
    """Return eight bytes derived from the MAC and the role.

    A checksum is enough, because the bytes are no secret. hashlib would load all of OpenSSL.
    """
    text = f"{guest_mac} {role}".encode()
    return b"".join(crc32(text, salt).to_bytes(4, "big") for salt in (1, 2))
