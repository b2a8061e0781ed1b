"""Whole seeds, compared with golden files."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from attrs import evolve, frozen
from vmnet_cloudinit import seed
from vmnet_cloudinit.content import UserContent

from vmnet import testing
from vmnet.api import Host, Identity, Wiring
from vmnet.testing import golden, interface, resolver, route

NOTHING = UserContent()
GOLDEN = Path(__file__).with_name("golden")


@frozen
class Case:
    identity: Identity
    wiring: Wiring
    own: UserContent = NOTHING


def docker_default() -> Case:
    identity = testing.identity()
    return Case(identity, testing.wiring(identity))


def docker_network() -> Case:
    """A user-defined network, whose resolver is on loopback."""
    nic = interface("172.18.0.2/16", gateway="172.18.0.1")
    names = resolver("127.0.0.11", search=("example.org",), options=("ndots:0",))
    identity = testing.identity(nic, resolver=names)
    return Case(identity, testing.wiring(identity, nameserver="172.18.255.254/16"))


def far_forwarder() -> Case:
    """The bridge that forwards DNS has no address of the guest's subnet."""
    nic = interface("172.18.0.2/16", gateway="172.18.0.1")
    identity = testing.identity(nic, resolver=resolver("127.0.0.11"))
    return Case(identity, testing.wiring(identity, nameserver="169.254.10.1/32"))


def calico() -> Case:
    """Host addresses; a far gateway has an on-link route, another the flag `onlink`."""
    nic = interface(
        "10.1.2.3/32",
        "fd00:10:1::3/128",
        mtu=1440,
        mac="ee:ee:ee:ee:ee:01",
        routes=(
            route("169.254.1.1/32"),
            route("0.0.0.0/0", "169.254.1.1"),
            route("::/0", "fd00:169::1", metric=1024, onlink=True),
        ),
    )
    cluster = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    names = resolver("10.96.0.10", search=cluster, options=("ndots:5",))
    identity = testing.identity(nic, hostname="pod", resolver=names)
    return Case(identity, testing.wiring(identity))


def ptp() -> Case:
    """CNI's ptp: the neighbours are behind the gateway, with IPv4 and IPv6."""
    nic = interface(
        "10.247.0.2/24",
        "fd00:247::2/64",
        mac="02:ac:3c:50:39:63",
        routes=(
            route("0.0.0.0/0", "10.247.0.1"),
            route("10.247.0.0/24", "10.247.0.1", source=ip_address("10.247.0.2")),
            route("10.247.0.1/32", source=ip_address("10.247.0.2")),
            route("fd00:247::1/128", metric=1024, source=ip_address("fd00:247::2")),
            route("fd00:247::/64", "fd00:247::1", metric=1024, source=ip_address("fd00:247::2")),
            route("::/0", "fd00:247::1", metric=1024),
        ),
        off_link=(ip_network("10.247.0.0/24"), ip_network("fd00:247::/64")),
    )
    identity = testing.identity(nic, hostname="pod", resolver=resolver("10.96.0.10"))
    return Case(identity, testing.wiring(identity))


def swarm() -> Case:
    """An overlay, and a bridge with the default route."""
    overlay = interface("10.0.1.5/24", mtu=1450)
    gateway_bridge = interface("172.18.0.3/16", name="eth1", gateway="172.18.0.1")
    identity = testing.identity(
        overlay, gateway_bridge, resolver=resolver("192.0.2.53", "2001:db8::53")
    )
    return Case(identity, testing.wiring(identity))


def everything() -> Case:
    nic = interface(
        "172.30.1.2/24",
        "172.30.1.200/24",
        "fd00:30:1::2/64",
        mtu=1450,
        routes=(
            route("0.0.0.0/0", "172.30.1.1"),
            route(
                "10.1.0.0/16", "172.30.1.7", metric=50, mtu=1400, source=ip_address("172.30.1.200")
            ),
            route("10.2.0.0/16"),
            route("10.3.0.0/16", "172.30.1.8"),
            route("10.3.0.0/16", "172.30.1.9"),
            route("10.4.0.0/16", "fe80::1"),
            route("fd00:99::/64", metric=1024),
            route("::/0", "fe80::1", metric=1024),
        ),
    )
    identity = testing.identity(
        nic,
        interface(name="eth1"),
        domain="example.org",
        resolver=resolver("172.30.1.53", search=("example.org", "no name"), options=("ndots:5",)),
        hosts=(
            Host(ip_address("172.30.1.9"), ("db", "db.example.org")),
            Host(ip_address("fd00:30:1::9"), ("db", "no/name")),
        ),
        ntp=tuple(map(ip_address, ("172.30.1.1", "fd00:30:1::1"))),
    )
    own = UserContent(b"#!/bin/sh\necho hello >/root/hello\n", b"#cloud-config\nbootcmd: [[ls]]\n")
    return Case(identity, testing.wiring(identity), own)


CASES: dict[str, Callable[[], Case]] = {
    "docker-default": docker_default,
    "docker-network": docker_network,
    "far-forwarder": far_forwarder,
    "calico": calico,
    "ptp": ptp,
    "swarm": swarm,
    "everything": everything,
}


@pytest.mark.parametrize("name", CASES)
def test_a_seed(name: str) -> None:
    case = CASES[name]()
    folder = GOLDEN / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in seed.files(case.identity, case.wiring, case.own).items():
        assert content.decode() == golden(folder / file, content.decode())


def test_the_image_contains_the_files() -> None:
    case = everything()
    delivery = seed.deliver(testing.RUN_DIR / "seed.iso", case.identity, case.wiring, case.own)
    (file,) = delivery.files
    assert (file.path, file.mode) == (testing.RUN_DIR / "seed.iso", 0o600)
    for content in seed.files(case.identity, case.wiring, case.own).values():
        assert content in file.content


def test_parts_that_are_not_carried_are_reported() -> None:
    case = everything()
    identity = evolve(case.identity, hostname="no name", domain="a b")
    delivery = seed.deliver(Path("/seed.iso"), identity, case.wiring, case.own)
    assert delivery.not_carried == (
        "host name 'no name': not a valid name",
        "domain 'a b': not a valid name",
        "route to 10.3.0.0/16 via 172.30.1.9 of eth0: "
        "one of several next hops; the guest gets only the first",
        "route to 10.4.0.0/16 via fe80::1 of eth0: its gateway is of the other IP version",
        "search domain 'no name': not a valid name",
        "resolv.conf options: ndots:5",
        "name 'no/name' of fd00:30:1::9: not a valid name",
    )
