"""What an engine assigns to a NIC of a running VM, merged with what the guest has."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from attrs import evolve

from vmnet.lifecycle.changes import readdress
from vmnet.model.identity import Interface, Route
from vmnet.net.restore.assigned import Assigned

GATEWAY = Route(ip_network("0.0.0.0/0"), ip_address("172.30.1.1"))
BEHIND = Route(ip_network("10.9.0.0/16"), ip_address("172.30.1.9"))
INTERFACE = Interface(
    name="eth0",
    mac="02:42:ac:1e:01:02",
    addresses=(ip_interface("172.30.1.2/24"), ip_interface("fd00::2/64")),
    routes=(GATEWAY, BEHIND),
)


def assigned(*addresses: str, withdrawn: tuple[str, ...] = (), routes: Any = ()) -> Assigned:
    return Assigned(
        tuple(map(ip_interface, addresses)), tuple(map(ip_interface, withdrawn)), routes, ()
    )


def addresses(interface: Interface) -> list[str]:
    return list(map(str, interface.addresses))


def test_nothing_is_assigned() -> None:
    assert readdress.merged(INTERFACE, assigned(), 1500) == INTERFACE


def test_an_address_that_the_guest_has_already() -> None:
    assert readdress.merged(INTERFACE, assigned("172.30.1.2/24"), 1500) == INTERFACE


def test_new_addresses_follow_those_of_their_family() -> None:
    found = readdress.merged(INTERFACE, assigned("fd00::7/64", "172.30.1.7/24"), 1500)
    assert addresses(found) == ["172.30.1.2/24", "172.30.1.7/24", "fd00::2/64", "fd00::7/64"]
    assert found.routes == INTERFACE.routes


def test_another_prefix_replaces_the_address() -> None:
    found = readdress.merged(INTERFACE, assigned("172.30.1.2/16"), 1500)
    assert addresses(found) == ["172.30.1.2/16", "fd00::2/64"]


def test_a_withdrawn_address_takes_its_routes_along() -> None:
    withdrawn = assigned("172.31.0.2/24", withdrawn=("172.30.1.2/24",))
    found = readdress.merged(INTERFACE, withdrawn, 1500)
    assert addresses(found) == ["172.31.0.2/24", "fd00::2/64"]
    assert found.routes == ()


def test_routes_of_a_subnet_with_another_address_remain() -> None:
    withdrawn = assigned("172.30.1.7/24", withdrawn=("172.30.1.2/24",))
    assert readdress.merged(INTERFACE, withdrawn, 1500).routes == INTERFACE.routes


def test_a_route_replaces_that_to_the_same_destination() -> None:
    other = evolve(GATEWAY, gateway=ip_address("172.30.1.3"))
    found = readdress.merged(INTERFACE, assigned(routes=(other,)), 1500)
    assert set(found.routes) == {BEHIND, other}


def test_a_route_from_an_address_that_the_guest_does_not_have() -> None:
    foreign = evolve(BEHIND, source=ip_address("172.30.1.66"))
    assert readdress.merged(INTERFACE, assigned(routes=(foreign,)), 1500).routes == (GATEWAY,)


@pytest.mark.parametrize(("mtu", "delivered"), [(1400, 1400), (575, 1500), (0, 1500)])
def test_the_mtu(mtu: int, delivered: int) -> None:
    assert readdress.merged(INTERFACE, assigned(), mtu).mtu == delivered


def test_the_number_of_routes_is_limited() -> None:
    many = tuple(Route(ip_network((number << 8, 24))) for number in range(1, 1000))
    assert len(readdress.merged(INTERFACE, assigned(routes=many), 1500).routes) == 64
