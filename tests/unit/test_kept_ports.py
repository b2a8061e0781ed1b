"""What a container needs to keep ports of the guest's addresses: the rules, and its plan."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest
from attrs import evolve

from tests.unit import bpf, frames
from vmnet import testing
from vmnet.errors import SettingsError
from vmnet.model.identity import Route
from vmnet.model.kept import Kept, StandIn
from vmnet.model.ports import PortRange
from vmnet.model.wiring import Bridge, Redirect, Requirements
from vmnet.net import links
from vmnet.net.filters import cbpf, keeping
from vmnet.net.kept import rules
from vmnet.settings import ports
from vmnet.strategies.ports import kept

MAC, OWN_MAC = "02:42:ac:11:00:02", "06:aa:bb:cc:dd:ee"
PLACE = rules.Place("eth0", "tap0", MAC, OWN_MAC)
PORTS = (PortRange("tcp", 5900, 5910), PortRange("tcp", 8006, 8006), PortRange("udp", 161, 161))
BOTH = (
    StandIn(ip_address("172.17.0.2"), ip_address("169.254.7.7")),
    StandIn(ip_address("fd00::2"), ip_address("fe80::7")),
)
KEEPING = testing.settings({"VMNET_KEEP_PORTS": "8006"})
FOR_KEPT = cbpf.assemble(keeping.program(Kept(PORTS, BOTH)))
KEEP, NEXT = 0, 0xFFFFFFFF  # TC_ACT_OK, TC_ACT_UNSPEC
GUEST4, GUEST6, OWN6 = "172.17.0.2", "fd00::2", "fe80::7"


@pytest.mark.parametrize(
    ("place", "file"),
    [
        (PLACE, "golden_kept_ports.txt"),
        (rules.Place("eth0", "tap0", MAC, MAC, "out0"), "golden_kept_ports_redirect.txt"),
    ],
)
def test_golden(place: rules.Place, file: str) -> None:
    """A line for each command of libnftables-json(5)."""
    commands = rules.table(place, Kept(PORTS, BOTH))
    text = "".join(f"{json.dumps(command)}\n" for command in commands)
    assert text == testing.golden(Path(__file__).with_name(file), text)


def to4(protocol: int, port: int, fragment: int = 0) -> bytes:
    frame = frames.ipv4("172.17.0.9", protocol, frames.ports(40000, port), fragment=fragment)
    return frame[:30] + IPv4Address(GUEST4).packed + frame[34:]


def to6(next_header: int, payload: bytes, target: str = GUEST6) -> bytes:
    return frames.ipv6("fd00::9", next_header, payload, target=target)


def fragment6(port: int, offset: int = 0) -> bytes:
    payload = frames.fragment(frames.UDP, frames.ports(40000, port), offset=offset)
    return to6(frames.FRAGMENT, payload)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (frames.arp("172.17.0.9", target=GUEST4), KEEP),
        (frames.arp("172.17.0.9", target="172.17.0.1"), NEXT),
        (to4(frames.TCP, 8006), KEEP),
        (to4(frames.TCP, 5905), KEEP),
        (to4(frames.TCP, 80), NEXT),
        (to4(frames.UDP, 8006), NEXT),
        (to4(frames.UDP, 161), KEEP),
        (to4(frames.UDP, 162, frames.MORE), NEXT),
        (to4(frames.UDP, 162, 185), KEEP),
        (to4(frames.ICMP, 8006), NEXT),
        (frames.ipv4("172.17.0.9", frames.TCP, frames.ports(1, 8006)), NEXT),
        (to6(frames.TCP, frames.ports(1, 8006)), KEEP),
        (to6(frames.TCP, frames.ports(1, 80)), NEXT),
        (to6(frames.TCP, frames.ports(1, 8006), "fd00::3"), NEXT),
        (to6(frames.UDP, frames.ports(1, 161)), KEEP),
        (fragment6(161), KEEP),
        (fragment6(162), NEXT),
        (fragment6(162, offset=100), KEEP),
        (to6(frames.ICMP6, frames.message(135, GUEST6)), KEEP),
        (to6(frames.ICMP6, frames.message(135, "fd00::3")), NEXT),
        (to6(frames.ICMP6, frames.message(136), OWN6), KEEP),
        (to6(frames.ICMP6, frames.message(136)), NEXT),
        (to6(frames.ICMP6, frames.message(128), OWN6), NEXT),
        (frames.ethernet(0x88B5, bytes(46)), NEXT),
    ],
)
def test_a_redirected_uplink_leaves_kept_ports_to_the_container(
    frame: bytes, expected: int
) -> None:
    assert bpf.run(FOR_KEPT, frame) == expected
    assert bpf.run(FOR_KEPT, frame, {cbpf.VLAN_TAG_PRESENT: 1}) == NEXT


@pytest.mark.parametrize("number", [0, 1])
def test_rules_of_a_family_that_is_not_served_are_missing(number: int) -> None:
    text = json.dumps(rules.table(PLACE, Kept(PORTS, (BOTH[number],))))
    missing = ('"ip6"', "icmpv6") if number == 0 else ('"ip"', '"arp"')
    assert not [word for word in missing if word in text]


@pytest.mark.parametrize("path", [Bridge("06:00:00:00:00:01"), Redirect("macvlan")])
def test_each_address_has_a_stand_in(
    path: Bridge | Redirect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "has_ipv6", lambda name: True)
    interface = testing.interface("172.17.0.2/16", "172.17.0.3/16", "fd00::2/64", "fd00::3/64")
    identity = testing.identity(interface)
    (port,) = testing.wiring(identity).ports
    planned = kept.keeping(PORTS, evolve(port, path=path), interface, identity)
    assert planned.kept is not None
    assert planned.local is not None
    stand_ins = planned.kept.stand_ins
    assert [each.guest for each in stand_ins] == [own.ip for own in interface.addresses]
    own = [each.own for each in stand_ins]
    # A redirected uplink has all of them, and the tap another.
    is_bridge = isinstance(path, Bridge)
    assert (planned.local.addresses[-1].ip in own) == is_bridge
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


def test_an_ipv4_route_with_an_ipv6_gateway_is_left_out() -> None:
    """The container's own end may have no IPv6, and the guest does not get the route either."""
    routes = (Route(ip_network("0.0.0.0/0"), ip_address("fd00::1")),)
    interface = testing.interface("172.17.0.2/16", "fd00::2/64", routes=routes)
    assert list(kept._routes(interface, BOTH)) == [
        Route(ip_network("172.17.0.0/16")),
        Route(ip_network("fd00::/64")),
    ]


def test_without_an_address_nothing_is_kept() -> None:
    interface = testing.interface()
    (port,) = testing.wiring(testing.identity(interface)).ports
    assert kept.keeping(PORTS, port, interface, testing.identity(interface)) == port
    with pytest.raises(SettingsError, match="the container has no address"):
        kept.require(KEEPING, testing.identity(interface), Requirements())


def test_ranges_as_text() -> None:
    assert [str(each) for each in PORTS] == ["5900-5910/tcp", "8006/tcp", "161/udp"]
    assert [port in PORTS[0] for port in (5899, 5900, 5910, 5911)] == [False, True, True, False]


@pytest.mark.parametrize("text", ["53", "50-60/udp", "67/udp"])
def test_ports_that_serve_the_guest_are_refused(text: str) -> None:
    settings = testing.settings({"VMNET_KEEP_PORTS": text})
    with pytest.raises(SettingsError, match="the guest reaches its"):
        kept.require(settings, testing.identity(), Requirements())


@pytest.mark.parametrize(
    ("given", "names", "remedy"),
    [
        ({"VMNET_METRICS": "9100"}, "VMNET_METRICS=9100", "unset VMNET_METRICS"),
        (
            {"VMNET_KEEP_PORTS": "8006", "VMNET_METRICS": "127.0.0.1:9100"},
            "VMNET_KEEP_PORTS=8006",
            "unset VMNET_KEEP_PORTS",
        ),
        (
            {"VMNET_KEEP_PORTS": "8006", "VMNET_METRICS": "9100"},
            "VMNET_KEEP_PORTS=8006, VMNET_METRICS=9100",
            "unset VMNET_KEEP_PORTS and VMNET_METRICS",
        ),
    ],
)
def test_an_error_names_the_variables_that_are_set(
    given: dict[str, str], names: str, remedy: str
) -> None:
    settings = ports.keep_for_metrics(testing.settings(given))
    identities = testing.identity(), testing.identity(testing.interface())
    for identity, requirements in zip(
        identities, (Requirements(any_address=True), Requirements()), strict=True
    ):
        with pytest.raises(SettingsError) as raised:
            kept.require(settings, identity, requirements)
        assert raised.value.message.startswith(f"{names}: ")
        assert raised.value.hint.removeprefix("use VMNET_IPAM=dnsmasq or cloudinit, or ") == remedy
