"""Corner cases of network-config, in addition to the golden files."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

from attrs import evolve
from vmnet_cloudinit.network import Network

from vmnet import testing
from vmnet.api import Identity, Interface, Wiring
from vmnet.testing import interface, resolver, route


def network(identity: Identity, wiring: Wiring | None = None) -> Network:
    return Network.of(identity, wiring or testing.wiring(identity))


def ethernets(*interfaces: Interface, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = network(testing.identity(*interfaces, **changes)).config["ethernets"]
    return found


def routes(*given: Any, addresses: tuple[str, ...] = ("10.0.0.2/24",)) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ethernets(interface(*addresses, routes=given))["eth0"]["routes"]
    return found


def test_a_default_route_lowers_the_mtu_of_the_nic() -> None:
    nic = interface("172.18.0.2/16", routes=(route("0.0.0.0/0", "172.18.0.1", mtu=1450),))
    identity = testing.identity(nic)
    ethernets = Network.of(identity, testing.wiring(identity)).config["ethernets"]
    assert ethernets["eth0"]["mtu"] == 1450


def test_a_gateway_is_made_reachable_once() -> None:
    assert routes(route("10.1.0.0/16", "10.9.9.9"), route("10.2.0.0/16", "10.9.9.9")) == [
        {"to": "10.9.9.9/32", "via": "0.0.0.0"},
        {"to": "10.1.0.0/16", "via": "10.9.9.9", "on-link": True},
        {"to": "10.2.0.0/16", "via": "10.9.9.9", "on-link": True},
    ]


def test_an_on_link_network_covers_its_gateways() -> None:
    assert routes(route("0.0.0.0/0", "10.9.9.9"), route("10.9.0.0/16")) == [
        {"to": "10.9.0.0/16", "via": "0.0.0.0"},
        {"to": "0.0.0.0/0", "via": "10.9.9.9", "on-link": True},
    ]


def test_a_default_route_to_the_link_itself_covers_nothing() -> None:
    assert {"to": "10.9.9.9/32", "via": "0.0.0.0"} in routes(
        route("0.0.0.0/0"), route("10.1.0.0/16", "10.9.9.9")
    )


def test_the_flag_is_kept_if_the_gateway_is_a_neighbour() -> None:
    found = routes(route("0.0.0.0/0", "10.0.0.1", onlink=True))
    assert found == [{"to": "0.0.0.0/0", "via": "10.0.0.1", "on-link": True}]


def test_an_ipv6_link_local_gateway_is_a_neighbour() -> None:
    found = routes(route("::/0", "fe80::1", metric=1024), addresses=("fd00::2/64",))
    assert found == [{"to": "::/0", "via": "fe80::1", "metric": 1024}]


def test_equal_destinations_of_different_metric_are_different_routes() -> None:
    given = (route("0.0.0.0/0", "10.0.0.1"), route("0.0.0.0/0", "10.0.0.3", metric=9))
    assert len(routes(*given)) == 2


def test_the_next_hops_of_a_route_over_several_interfaces() -> None:
    first = interface("10.0.0.2/24", gateway="10.0.0.1")
    second = interface("10.0.1.2/24", gateway="10.0.1.1", name="eth1")
    found = network(testing.identity(first, second))
    assert "routes" not in found.config["ethernets"]["eth1"]
    assert found.not_carried[0].startswith(
        "route to 0.0.0.0/0 via 10.0.1.1 of eth1: one of several"
    )


def test_a_zone_is_left_out() -> None:
    nic = interface("10.0.0.2/24", addresses=(IPv6Interface("fe80::2%$(reboot)/64"),))
    names = evolve(resolver(), nameservers=(IPv6Address("fe80::53%\n- x"),))
    found = ethernets(nic, resolver=names)["eth0"]
    assert found["addresses"] == ["fe80::2/64"]
    assert found["nameservers"] == {"addresses": ["fe80::53"]}


def test_an_interface_name_that_is_no_file_name_is_replaced() -> None:
    assert list(ethernets(interface(name="a/b"), interface(name="eth1"))) == ["net0", "eth1"]


def test_nameservers_belong_to_the_interface_with_the_default_route() -> None:
    idle, overlay = interface(name="eth0"), interface("10.0.1.5/24", name="eth1")
    for more, expected in (
        ((), "eth1"),
        ((interface("fd00::2/64", gateway="fd00::1", name="eth2"),), "eth2"),
        ((interface("10.0.2.2/24", gateway="10.0.2.1", name="eth2"),), "eth2"),
    ):
        found = ethernets(idle, overlay, *more)
        assert [name for name, nic in found.items() if "nameservers" in nic] == [expected]


def test_a_forwarder_is_asked_through_its_own_bridge() -> None:
    nics = interface("10.0.0.2/24"), interface("10.0.1.2/24", gateway="10.0.1.1", name="eth1")
    identity = testing.identity(*nics, resolver=resolver("127.0.0.11", "192.0.2.53"))
    wiring = testing.wiring(identity, nameserver="10.0.0.254/24")
    found = network(identity, wiring)
    own = str(wiring.stable_nameserver)
    assert found.config["ethernets"]["eth0"]["nameservers"] == {"addresses": [own]}
    assert {"to": f"{own}/32", "via": "0.0.0.0"} in found.config["ethernets"]["eth0"]["routes"]
    assert "nameservers" not in found.config["ethernets"]["eth1"]
    assert not found.not_carried


def test_a_forwarder_that_an_ipv6_guest_cannot_reach_is_reported() -> None:
    identity = testing.identity(interface("fd00::2/64"), resolver=resolver("127.0.0.11"))
    found = network(identity, testing.wiring(identity, nameserver="169.254.1.2/32"))
    assert found.not_carried == ("DNS: eth0 has no IPv4 address to ask 169.254.1.2 from",)


def test_a_resolver_on_loopback_without_a_forwarder_is_reported() -> None:
    found = network(testing.identity(resolver=resolver("127.0.0.11")))
    assert found.not_carried == (
        "nameserver 127.0.0.11: the guest cannot reach it, and there is no forwarder",
    )


def test_an_empty_search_list_is_omitted() -> None:
    found = network(testing.identity(resolver=resolver("192.0.2.53", search=(".",))))
    assert found.config["ethernets"]["eth0"]["nameservers"] == {"addresses": ["192.0.2.53"]}
    assert not found.not_carried


def test_no_interface_at_all() -> None:
    identity = evolve(testing.identity(), interfaces=())
    assert network(identity, Wiring()).config == {"version": 2, "ethernets": {}}


def test_the_prefix_is_unchanged() -> None:
    nic = interface("10.0.0.2/24", addresses=(IPv4Interface("10.0.0.2/31"),))
    assert ethernets(nic)["eth0"]["addresses"] == ["10.0.0.2/31"]
