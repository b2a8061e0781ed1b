"""The instance id says whether the guest is still the same."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from attrs import evolve
from vmnet_cloudinit.metadata import instance_id, metadata

from vmnet import testing
from vmnet.identity import Host
from vmnet.testing import interface, resolver

IDENTITY = testing.identity()
WIRING = testing.wiring(IDENTITY)
NIC = IDENTITY.interfaces[0]


@pytest.mark.parametrize(
    "change",
    [
        {"hostname": "db"},
        {"domain": "example.org"},
        {"interfaces": (interface("172.17.0.3/16", gateway="172.17.0.1"),)},
        {"interfaces": (evolve(NIC, mtu=1400),)},
        {"interfaces": (evolve(NIC, routes=()),)},
        {"resolver": resolver("192.0.2.54")},
        {"resolver": resolver("192.0.2.53", search=("example.org",))},
        {"hosts": (Host(ip_address("172.17.0.9"), ("db",)),)},
        {"ntp": (ip_address("192.0.2.123"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_identity_is_another_instance(change: dict[str, Any]) -> None:
    assert instance_id(evolve(IDENTITY, **change), WIRING) != instance_id(IDENTITY, WIRING)


def test_another_forwarder_is_another_instance() -> None:
    other = testing.wiring(IDENTITY, nameserver="172.17.255.254/16")
    assert instance_id(IDENTITY, other) != instance_id(IDENTITY, WIRING)


def test_the_same_identity_is_the_same_instance() -> None:
    """Whatever was made for it on this side: taps, MACs of bridges, whether DHCP is contained."""
    port = evolve(WIRING.ports[0], tap="tap9", bridge_mac="02:00:00:00:00:09", tap_fds=(9,))
    other = evolve(WIRING, ports=(port,), contain=False)
    assert instance_id(testing.identity(), other) == instance_id(IDENTITY, WIRING)


def test_the_id_is_stable_between_releases() -> None:
    """The constant may never change: every guest would lose its SSH host keys."""
    assert instance_id(IDENTITY, WIRING) == "vmnet-3de1ef54e581c9b7711e956849c0a5e5"


@pytest.mark.parametrize(
    ("hostname", "domain", "expected"),
    [
        ("web", "", "web"),
        ("web", "example.org", "web.example.org"),
        ("web", "example.org.", "web.example.org"),
        ("web", "not a domain", "web"),
        ("1e3", "", "1e3"),
        ("web\ninstance-id: x", "", None),
        ("web.example.org", "", None),
        ("", "", None),
    ],
)
def test_the_host_name(hostname: str, domain: str, expected: str | None) -> None:
    found = metadata(testing.identity(hostname=hostname, domain=domain), WIRING)
    assert found.get("local-hostname") == expected
