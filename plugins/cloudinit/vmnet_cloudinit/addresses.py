"""Addresses as text that can't start a line of its own."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

Address = IPv4Address | IPv6Address


def text(address: Address) -> str:
    """The address without its zone (RFC 4007), free text that means nothing in the guest."""
    return str(IPv6Address(int(address)) if isinstance(address, IPv6Address) else address)


def with_prefix(address: IPv4Interface | IPv6Interface) -> str:
    """``192.0.2.2/24``, without a zone."""
    return f"{text(address.ip)}/{address.network.prefixlen}"
