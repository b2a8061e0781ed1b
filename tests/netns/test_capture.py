"""The identity that capture reads from a real kernel's links, addresses and routes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from attrs import evolve

from tests.lab.command import run
from tests.lab.net.namespace import Namespace, namespace
from vmnet.errors import CaptureError
from vmnet.model.identity import Interface, Neighbour, Router
from vmnet.net import router
from vmnet.strategies.netns import capture
from vmnet.testing import interface, route

MAC = "02:00:00:00:00:01"


@pytest.fixture
def container() -> Iterator[Namespace]:
    """A container whose eth0 is up, without addresses and routes."""
    with namespace("host") as host, namespace("container") as made:
        made.sysctl(net__ipv6__conf__default__accept_dad=0)
        peer = ("peer", "name", "eth0", "netns", made.name, "address", "02:42:0a:00:00:02")
        host.ip("link", "add", "veth0", "type", "veth", *peer)
        host.ip("link", "set", "veth0", "up")
        made.ip("link", "set", "eth0", "up")
        yield made


def captured(container: Namespace, *commands: str, monkeypatch: pytest.MonkeyPatch) -> Interface:
    """Run commands of ip(8) and capture the interface, without looking for its router."""
    monkeypatch.setattr(router, "find", lambda _: None)
    run(
        "ip",
        "-n",
        container.name,
        "-batch",
        "-",
        input="".join(f"{command}\n" for command in commands),
    )
    with container.entered():
        (found,) = capture.read_network(None).interfaces
    return found


def host(
    *addresses: str, off_link: tuple[str, ...] = (), routes: tuple[str, ...] = ()
) -> Interface:
    made = interface(*addresses, mac="02:42:0a:00:00:02", routes=tuple(map(route, routes)))
    networks = tuple(route(prefix).destination for prefix in off_link)
    return evolve(made, off_link=networks)


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["address add 10.0.0.2/24 dev eth0"], host("10.0.0.2/24")),
        (["address add 10.0.0.2/32 dev eth0"], host("10.0.0.2/32")),
        (["address add fd00::2/64 dev eth0"], host("fd00::2/64")),
        (
            ["address add 10.0.0.2/24 dev eth0", "route del 10.0.0.0/24 dev eth0"],
            host("10.0.0.2/24", off_link=("10.0.0.0/24",)),
        ),
        (
            ["address add fd00::2/64 dev eth0 noprefixroute"],
            host("fd00::2/64", off_link=("fd00::/64",)),
        ),
        (
            # As NetworkManager adds the route.
            [
                "address add fd00::2/64 dev eth0 noprefixroute",
                "route add fd00::/64 dev eth0 proto static",
            ],
            evolve(
                host("fd00::2/64"),
                routes=(route("fd00::/64", metric=1024),),
            ),
        ),
        (
            ["address add 10.0.0.2/24 dev eth0 noprefixroute", "route add 10.0.0.0/8 dev eth0"],
            host("10.0.0.2/24", routes=("10.0.0.0/8",)),
        ),
        (
            ["address add 10.0.0.2/24 dev eth0", "address add 10.1.0.2/24 dev eth0 noprefixroute"],
            host("10.0.0.2/24", "10.1.0.2/24", off_link=("10.1.0.0/24",)),
        ),
        (
            # As CNI's sbr plugin does: the on-link route is in a separate table.
            [
                "address add 10.0.0.2/24 dev eth0",
                "route del 10.0.0.0/24 dev eth0",
                "route add 10.0.0.0/24 dev eth0 table 100",
            ],
            host("10.0.0.2/24"),
        ),
        (
            # A route with a better metric than the on-link route.
            [
                "address add fd00::2/64 dev eth0",
                "route add fd00::1/128 dev eth0 metric 100",
                "route add fd00::/64 via fd00::1 metric 100",
            ],
            evolve(
                host("fd00::2/64", off_link=("fd00::/64",)),
                routes=(
                    route("fd00::1/128", metric=100),
                    route("fd00::/64", "fd00::1", metric=100),
                ),
            ),
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else "",
)
def test_on_link_prefixes_and_routes_are_captured(
    container: Namespace,
    commands: list[str],
    expected: Interface,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert captured(container, *commands, monkeypatch=monkeypatch) == expected


@pytest.mark.parametrize(
    ("address", "peer_route", "off_link"),
    [
        ("10.0.0.2 peer 10.0.0.1", "10.0.0.1/32", ()),
        ("10.0.0.2 peer 10.9.0.1/24", "10.9.0.0/24", ("10.0.0.0/24",)),
    ],
)
def test_the_peer_of_a_point_to_point_address_is_on_link(
    container: Namespace,
    address: str,
    peer_route: str,
    off_link: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = captured(container, f"address add {address} dev eth0", monkeypatch=monkeypatch)
    routes = [(str(route.destination), route.gateway) for route in found.routes]
    assert routes == [(peer_route, None)]
    assert tuple(map(str, found.off_link)) == off_link


def test_the_prefixes_of_an_interface_that_is_down_count_as_on_link(
    container: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "find", lambda _: None)
    container.ip("link", "set", "eth0", "down")
    container.ip("address", "add", "10.0.0.2/24", "dev", "eth0")
    with container.entered():
        (found,) = capture.read_network(("eth0",)).interfaces
    assert found == host("10.0.0.2/24")


def test_only_permanent_entries_of_gateways_are_captured(
    container: Namespace,
) -> None:
    container.ip("address", "add", "10.0.0.2/24", "dev", "eth0")
    container.ip("address", "add", "fd00::2/64", "dev", "eth0")
    container.ip("route", "add", "default", "via", "10.0.0.1")
    container.ip("-6", "route", "add", "default", "via", "fd00::1")
    for address in ("10.0.0.1", "10.0.0.3", "fd00::1", "fd00::3"):
        container.ip("neighbour", "add", address, "dev", "eth0", "lladdr", MAC, "nud", "permanent")
    with container.entered():
        network = capture.read_network(None)
    (found,) = network.interfaces
    gateway, gateway6 = IPv4Address("10.0.0.1"), IPv6Address("fd00::1")
    assert found.neighbours == (Neighbour(gateway, MAC), Neighbour(gateway6, MAC))
    assert found.router == Router(gateway6, mac=MAC)
    assert network.not_carried == ()


def test_a_bridge_without_ipv6_answers_for_no_ipv6_gateway(container: Namespace) -> None:
    """Docker's containers: only interfaces with an IPv6 address have IPv6."""
    container.sysctl(net__ipv6__conf__default__disable_ipv6=1)
    container.ip("address", "add", "fe80::2/64", "dev", "eth0", "nodad")
    container.ip("-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
    container.ip("neighbour", "add", "fe80::1", "dev", "eth0", "lladdr", MAC, "nud", "permanent")
    with container.entered():
        network = capture.read_network(None)
    (found,) = network.interfaces
    assert found.neighbours == ()
    assert network.not_carried == (
        f"the permanent MAC {MAC} of the gateway fe80::1 of eth0: a bridge in this container "
        "has no IPv6 (set the sysctl net.ipv6.conf.default.disable_ipv6=0)",
    )


def test_interfaces_with_the_same_mac_are_refused(container: Namespace) -> None:
    for name in ("eth2", "eth10"):
        peer = ("peer", "name", f"{name}-peer")
        container.ip("link", "add", name, "address", MAC, "type", "veth", *peer)
        container.ip("link", "set", name, "up")
    with container.entered():
        with pytest.raises(CaptureError, match=f"^eth2 and eth10 have the same MAC, {MAC}$"):
            capture.read_network(("eth0", "eth2", "eth10"))
        found = capture.read_network(("eth0", "eth10"))
    assert [interface.name for interface in found.interfaces] == ["eth0", "eth10"]
