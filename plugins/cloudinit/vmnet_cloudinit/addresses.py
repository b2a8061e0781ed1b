"""Addresses as text, without the free text of a zone."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

Address = IPv4Address | IPv6Address


def text(address: Address) -> str:
    """Return an address without its zone (RFC 4007), which has no meaning in the guest."""
    return str(IPv6Address(int(address)) if isinstance(address, IPv6Address) else address)


def with_prefix(address: IPv4Interface | IPv6Interface) -> str:
    """Return ``192.0.2.2/24``, without a zone."""
    return f"{text(address.ip)}/{address.network.prefixlen}"
