"""The meta-data: the instance id, which changes with the identity, and the host name."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from typing import Any

import attrs
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from vmnet_cloudinit.metadata import instance_id, metadata

from vmnet import testing
from vmnet.api import Host, Identity, Interface, Resolver, Route, Router, Tap
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


def test_another_spare_address_is_the_same_instance() -> None:
    """The free address depends on the machines that have started before."""
    spare = (testing.wiring(IDENTITY, nameserver=f"172.17.255.{n}/16") for n in (253, 254))
    assert len({instance_id(IDENTITY, wiring) for wiring in spare}) == 1


def test_the_same_identity_is_the_same_instance() -> None:
    """Taps, MACs of bridges and the containment of DHCP do not matter."""
    own = evolve(testing.local(WIRING), mac="02:00:00:00:00:09")
    port = evolve(WIRING.ports[0], backend=Tap("tap9", (9,)), local=own)
    other = evolve(WIRING, ports=(port,), contain=False)
    assert instance_id(testing.identity(), other) == instance_id(IDENTITY, WIRING)


def test_the_id_is_stable_between_releases() -> None:
    """The constant must never change: every guest would lose its SSH host keys."""
    assert instance_id(IDENTITY, WIRING) == "vmnet-3de1ef54e581c9b7711e956849c0a5e5"


def test_a_silent_router_is_the_same_instance() -> None:
    gateway = IPv6Address("fd00::1")
    answers = Router(gateway), Router(gateway, IPv6Address("fe80::1"), "02:42:00:00:00:01")
    nics = [interface("fd00::2/64", router=router) for router in (None, *answers)]
    assert len({instance_id(testing.identity(nic), WIRING) for nic in nics}) == 1


def _few(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


# Few values of each, so that two identities are often equal or nearly equal.
_ROUTES = st.builds(
    Route,
    destination=_few(ip_network("0.0.0.0/0"), ip_network("::/0"), ip_network("10.0.0.0/8")),
    gateway=_few(None, ip_address("172.17.0.1"), ip_address("fe80::1")),
    onlink=st.booleans(),
    metric=_few(0, 1),
    mtu=_few(None, 1, 1400),
)
_INTERFACES = st.builds(
    Interface,
    name=_few("eth0", "eth1"),
    mac=_few("02:42:ac:11:00:02", "02:42:ac:11:00:03"),
    mtu=_few(1500, 1),
    addresses=st.lists(_few(*map(ip_interface, ("10.0.0.1/8", "10.0.0.1/9", "::1/64")))).map(tuple),
    routes=st.lists(_ROUTES, max_size=2).map(tuple),
)
_NAMES = _few("", "a", "b", "ab")
_LISTS = st.lists(_NAMES, max_size=2).map(tuple)
_ADDRESSES = st.lists(_few(ip_address("192.0.2.1"), ip_address("::1")), max_size=2).map(tuple)
_IDENTITIES = st.builds(
    Identity,
    hostname=_NAMES,
    domain=_NAMES,
    interfaces=st.lists(_INTERFACES, max_size=2).map(tuple),
    resolver=st.builds(Resolver, nameservers=_ADDRESSES, search=_LISTS, options=_LISTS),
    hosts=st.lists(
        st.builds(Host, _ADDRESSES.map(lambda addresses: (*addresses, None)[0]), _LISTS)
    ).map(tuple),
    ntp=_ADDRESSES,
)


@given(st.data())
def test_the_id_changes_when_and_only_when_the_identity_does(data: st.DataObject) -> None:
    """Compare with an independent identity, and with identities that differ in at most a field."""
    first, other = data.draw(_IDENTITIES), data.draw(_IDENTITIES)
    field = data.draw(st.sampled_from([attribute.name for attribute in attrs.fields(Identity)]))
    near = evolve(first, **{field: getattr(other, field)})
    for second in (other, near, evolve(first)):
        same = instance_id(first, WIRING) == instance_id(second, WIRING)
        assert same == (first == second), (first, second)


@pytest.mark.parametrize(
    ("hostname", "domain", "expected"),
    [
        ("web", "", "web"),
        ("web", "example.org", "web.example.org"),
        ("web", "example.org.", "web.example.org"),
        ("web", "not a domain", "web"),
        ("1e3", "", "1e3"),
        ("10", "0.0.1", "10"),  # cloud-init would replace 10.0.0.1 by ip-10-0-0-1
        ("web\ninstance-id: x", "", None),
        ("web.example.org", "", None),
        ("", "", None),
    ],
)
def test_the_host_name(hostname: str, domain: str, expected: str | None) -> None:
    found = metadata(testing.identity(hostname=hostname, domain=domain), WIRING)
    assert found.get("local-hostname") == expected
