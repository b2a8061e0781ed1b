"""What a container needs to keep ports of the guest's addresses: the rules, and its plan."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, ip_address, ip_network
from pathlib import Path

import pytest

from vmnet import testing
from vmnet.errors import SettingsError
from vmnet.model.identity import Route
from vmnet.model.kept import Kept, StandIn
from vmnet.model.ports import PortRange
from vmnet.model.wiring import Requirements
from vmnet.net import links
from vmnet.net.kept import rules
from vmnet.settings import values
from vmnet.strategies.ports import kept

GOLDEN = Path(__file__).with_name("golden_kept_ports.txt")
MAC, OWN_MAC = "02:42:ac:11:00:02", "06:aa:bb:cc:dd:ee"
PORTS = (PortRange("tcp", 5900, 5910), PortRange("tcp", 8006, 8006), PortRange("udp", 161, 161))
BOTH = (
    StandIn(ip_address("172.17.0.2"), ip_address("169.254.7.7")),
    StandIn(ip_address("fd00::2"), ip_address("fe80::7")),
)
OWN = IPv4Interface("169.254.7.7/32")


def test_golden() -> None:
    """A line for each command of libnftables-json(5)."""
    commands = rules.table("eth0", MAC, OWN_MAC, Kept(PORTS, BOTH))
    text = "".join(f"{json.dumps(command)}\n" for command in commands)
    assert text == testing.golden(GOLDEN, text)


@pytest.mark.parametrize("number", [0, 1])
def test_rules_of_a_family_that_is_not_served_are_missing(number: int) -> None:
    text = json.dumps(rules.table("eth0", MAC, OWN_MAC, Kept(PORTS, (BOTH[number],))))
    missing = ('"ip6"', "icmpv6") if number == 0 else ('"ip"', '"arp"')
    assert not [word for word in missing if word in text]


def test_each_address_has_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "has_ipv6", lambda name: True)
    interface = testing.interface("172.17.0.2/16", "172.17.0.3/16", "fd00::2/64", "fd00::3/64")
    planned = kept.kept(PORTS, interface, OWN, testing.identity(interface))
    assert planned is not None
    assert [each.guest for each in planned.stand_ins] == [a.ip for a in interface.addresses]
    own = [each.own for each in planned.stand_ins]
    assert own[0] == OWN.ip
    assert len(set(own)) == 4
    assert all(address.is_link_local for address in own)


def test_the_container_gets_the_routes_of_the_families_that_it_serves() -> None:
    gateway = IPv4Address("172.17.0.1")
    routes = (
        Route(ip_network("0.0.0.0/0"), gateway),
        Route(ip_network("::/0"), ip_address("fd00::1")),
    )
    interface = testing.interface("172.17.0.2/16", "fd00::2/64", routes=routes)
    stand_in, *_ = BOTH
    assert list(kept._routes(interface, [stand_in])) == [
        Route(ip_network("172.17.0.0/16")),
        routes[0],
    ]


def test_without_an_address_nothing_is_kept() -> None:
    interface = testing.interface()
    assert kept.kept(PORTS, interface, OWN, testing.identity(interface)) is None
    with pytest.raises(SettingsError, match="the container has no address"):
        kept.require(PORTS, testing.identity(interface), Requirements())


def test_ranges_as_text() -> None:
    assert [str(each) for each in PORTS] == ["5900-5910/tcp", "8006/tcp", "161/udp"]
    assert [port in PORTS[0] for port in (5899, 5900, 5910, 5911)] == [False, True, True, False]


@pytest.mark.parametrize("text", ["53", "50-60/udp", "67/udp"])
def test_ports_that_serve_the_guest_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="on which the guest reaches its"):
        kept.require(values.ports(text), testing.identity(), Requirements())
