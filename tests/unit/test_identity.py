"""The computed properties of an identity."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface

import pytest

from vmnet import testing

PTP = testing.interface(
    *("10.247.0.2/24", "10.9.0.2/16", "fd00:247::2/64"),
    off_link=(IPv4Network("10.247.0.0/24"), IPv6Network("fd00:247::/64")),
)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("10.247.0.2/24", "10.247.0.2/32"),
        ("10.9.0.2/16", "10.9.0.2/16"),
        ("fd00:247::2/64", "fd00:247::2/128"),
        ("fd00::2/64", "fd00::2/64"),
    ],
)
def test_the_on_link_prefix_of_an_address(own: str, expected: str) -> None:
    assert PTP.on_link(ip_interface(own)) == ip_interface(expected)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.247.0.1", False),
        ("10.9.255.1", True),
        ("fd00:247::1", False),
        ("fe80::1", True),
        ("169.254.1.1", False),
    ],
)
def test_whether_an_address_is_a_neighbour(address: str, expected: bool) -> None:
    assert PTP.is_neighbour(ip_address(address)) is expected
