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
    ("nic", "ipv4", "ipv6", "expected"),
    [
        (1500, None, None, 1500),
        (1500, 1450, None, 1450),
        (1500, None, 1400, 1400),
        (1500, 1450, 1400, 1400),
        (1400, 1450, None, 1400),
        (1500, 1000, None, 1280),
    ],
)
def test_a_default_route_lowers_the_mtu_of_the_guest(
    nic: int, ipv4: int | None, ipv6: int | None, expected: int
) -> None:
    routes = (
        testing.route("0.0.0.0/0", "10.9.0.1", mtu=ipv4),
        testing.route("::/0", "fd00::1", mtu=ipv6),
        testing.route("10.1.0.0/16", "10.9.0.1", mtu=900),
    )
    dual = testing.interface("10.9.0.2/16", "fd00::2/64", mtu=nic, routes=routes)
    assert dual.guest_mtu == expected


def test_without_ipv6_the_mtu_of_the_guest_has_no_limit() -> None:
    routes = (testing.route("0.0.0.0/0", "10.9.0.1", mtu=1000),)
    assert testing.interface("10.9.0.2/16", routes=routes).guest_mtu == 1000


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
