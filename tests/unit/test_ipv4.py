"""The current IPv4 addresses and gateways, read from the kernel."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from tests.lab.net.namespace import namespace
from vmnet.net import ipv4


def test_the_kernels_addresses_of_one_device() -> None:
    with namespace("addresses") as made:
        for name in ("br0", "br1"):
            made.ip("link", "add", name, "type", "bridge")
        own = [f"10.{number // 50}.{number % 50}.1/24" for number in range(100)]
        for address in own:
            made.ip("address", "add", address, "dev", "br1")
        with made.entered():
            assert ipv4.addresses("br0") == ()
            assert [str(address) for address in ipv4.addresses("br1")] == own
            with pytest.raises(OSError, match="no interface"):
                ipv4.addresses("br2")
            assert ipv4.addresses_by_device()["br1"] == own


def test_the_gateways_are_those_of_default_routes() -> None:
    with namespace("gateways") as made:
        made.ip("link", "add", "br0", "type", "bridge")
        made.ip("address", "add", "10.0.0.2/24", "dev", "br0")
        made.ip("link", "set", "br0", "up")
        made.ip("route", "add", "10.1.0.0/16", "via", "10.0.0.9")
        made.ip("route", "add", "default", "via", "10.0.0.1")
        with made.entered():
            assert ipv4.gateways() == [IPv4Address("10.0.0.1")]
