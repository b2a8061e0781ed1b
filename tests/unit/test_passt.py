"""passt: its ports, its command line, and the filter that stands in for its namespaces."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Interface
from pathlib import Path

import pytest
from attrs import evolve

from tests.unit.interpreter import run
from vmnet import testing
from vmnet.model.identity import Identity, Resolver, Route, Router
from vmnet.model.ports import PortRange
from vmnet.strategies.passt import arguments, gaps, launcher, ports
from vmnet.strategies.passt.arguments import DNS_HOST, HOSTNAME, Link, Paths
from vmnet.strategies.passt.ports import Ports

PATHS = Paths.below(Path("/run/vmnet"))
LINK = Link(
    mac="06:00:00:00:00:01",
    forwards=None,
    ports=Ports(((80, 80),), ()),
    listen="",
    serves=True,
    options=frozenset((HOSTNAME, DNS_HOST)),
    user=(65534, 65534),
)


def words(identity: Identity, link: Link = LINK) -> dict[str, list[str]]:
    """Return passt's options with their values."""
    found: dict[str, list[str]] = {}
    option = ""
    for word in arguments.arguments(identity, identity.interfaces[0], link, PATHS):
        if word.startswith("--"):
            option = word
            found.setdefault(option, [])
        else:
            found[option].append(word)
    return found


@pytest.mark.parametrize(
    ("text", "tcp", "udp"),
    [
        ("22", ((22, 22),), ((22, 22),)),
        ("80/tcp, 53/udp", ((80, 80),), ((53, 53),)),
        ("5000-6000/tcp", ((5000, 6000),), ()),
        ("80,81,79-80", ((79, 81),), ((79, 81),)),
        ("none", (), ()),
        ("ALL", ((1, 65535),), ((1, 65535),)),
    ],
)
def test_ports(text: str, tcp: tuple[ports.Range, ...], udp: tuple[ports.Range, ...]) -> None:
    parsed = ports.parse(text)
    assert parsed is not None
    assert (parsed.tcp, parsed.udp) == (tcp, udp)


@pytest.mark.parametrize("text", ["", "0", "65536", "80-79", "http", "80/sctp", "1-2-3", "-1"])
def test_wrong_ports(text: str) -> None:
    with pytest.raises(ValueError, match="a list of ports"):
        ports.parse(text)


def test_the_automatic_ports_leave_descriptors_for_connections() -> None:
    assert ports.parse("auto") is None
    assert ports.automatic(1 << 20).tcp == ((1, 10000),)
    assert ports.automatic(1024).tcp == ((1, 384),)
    assert ports.automatic(1 << 20, interfaces=2).tcp == ((1, 5000),)
    assert ports.automatic(1024).count == ports.fitting(1024) == 768


@pytest.mark.parametrize(
    ("ranges", "weak", "option"),
    [
        ((), False, "none"),
        (((22, 22), (80, 90)), False, "22,80-90"),
        (((1, 10000),), True, "~10001-65535"),
        (((1, 79), (81, 100)), True, "~80,~101-65535"),
        (((1, 65535),), True, "all"),
    ],
)
def test_ports_as_an_option(ranges: tuple[ports.Range, ...], weak: bool, option: str) -> None:
    assert ports.option(ranges, weak) == option


@pytest.mark.parametrize(
    ("ranges", "weak", "option"),
    [
        ((), False, "none"),
        (((22, 22), (80, 90)), False, "192.0.2.1/22,80-90"),
        (((1, 10000),), True, "192.0.2.1/~10001-65535"),
        (((1, 65535),), True, "192.0.2.1/~0"),
    ],
)
def test_ports_of_an_address_as_an_option(
    ranges: tuple[ports.Range, ...], weak: bool, option: str
) -> None:
    assert ports.option(ranges, weak, "192.0.2.1") == option


def test_an_interface_is_listened_at_for_both_families_or_at_its_address() -> None:
    dual = testing.interface("192.0.2.2/24", "2001:db8::2/64")
    new = frozenset((HOSTNAME, DNS_HOST))
    assert arguments.listen(dual, new) == "%eth0"
    assert arguments.listen(dual, frozenset()) == "192.0.2.2"
    assert arguments.listen(testing.interface("192.0.2.2/24"), new) == "192.0.2.2"
    assert arguments.listen(testing.interface("2001:db8::2/64"), new) == "2001:db8::2"


def test_ports_of_the_containers_programs() -> None:
    chosen = Ports(((1, 100),), ((53, 53),))
    listening = (PortRange("tcp", 80, 80), PortRange("tcp", 8080, 8080), PortRange("udp", 80, 80))
    assert ports.occupied(chosen, listening) == (PortRange("tcp", 80, 80),)


@pytest.mark.parametrize(
    ("kept", "tcp"),
    [
        ((), ((1, 10),)),
        ((5, 5), ((1, 4), (6, 10))),
        ((1, 3), ((4, 10),)),
        ((8, 20), ((1, 7),)),
        ((1, 10), ()),
        ((20, 30), ((1, 10),)),
    ],
)
def test_ports_that_the_container_keeps(
    kept: tuple[int, ...], tcp: tuple[ports.Range, ...]
) -> None:
    chosen = Ports(((1, 10),), ((1, 10),), weak=True)
    ranges = [PortRange("tcp", *kept)] if kept else []
    assert ports.without(chosen, ranges) == Ports(tcp, ((1, 10),), weak=True)


def test_the_guest_gets_the_containers_identity() -> None:
    resolver = Resolver((IPv4Address("192.0.2.53"),), ("example.org", "bad name"))
    found = words(testing.identity(hostname="web", resolver=resolver))
    assert found["--address"] == ["172.17.0.2"]
    assert found["--netmask"] == ["16"]
    assert found["--gateway"] == ["172.17.0.1"]
    assert found["--mtu"] == ["1500"]
    assert found["--dns"] == ["192.0.2.53"]
    assert found["--search"] == ["example.org"]
    assert found["--hostname"] == ["web"]
    assert found["--tcp-ports"] == ["80"]
    assert found["--udp-ports"] == ["none"]
    assert {"--ipv4-only", "--no-map-gw"} <= found.keys()


def test_the_containers_own_resolver_is_forwarded() -> None:
    identity = testing.identity(resolver=Resolver((IPv4Address("127.0.0.11"),)))
    found = words(identity, evolve(LINK, forwards=IPv4Address("169.254.7.7")))
    assert found["--dns-forward"] == found["--dns"] == ["169.254.7.7"]
    assert found["--dns-host"] == ["127.0.0.11"]
    assert "--no-dhcp-dns" in words(identity)


def test_an_older_release_gets_no_host_name() -> None:
    found = words(testing.identity(hostname="web"), evolve(LINK, options=frozenset()))
    assert "--hostname" not in found


def test_another_system_configures_the_guest() -> None:
    found = words(testing.identity(), evolve(LINK, serves=False))
    assert {"--no-dhcp", "--no-dhcpv6", "--no-ra"} <= found.keys()
    assert "--dns" not in found


@pytest.mark.parametrize(
    ("router", "gateway"),
    [
        (None, "fe80::1"),
        (Router(IPv6Address("fe80::9")), "fe80::9"),
        (Router(IPv6Address("2001:db8::1"), IPv6Address("fe80::7")), "fe80::7"),
        (Router(IPv6Address("2001:db8::1")), "fe80::1"),
    ],
)
def test_the_router_is_link_local(router: Router | None, gateway: str) -> None:
    """Otherwise passt would take the container's link-local address, which the guest has."""
    own = (IPv6Interface("2001:db8::2/64"),)
    interface = evolve(testing.identity().interfaces[0], addresses=own, router=router)
    found = words(testing.identity(interface))
    assert found["--address"] == ["2001:db8::2"]
    assert found["--gateway"] == [gateway]
    assert "--ipv6-only" in found


def test_without_a_default_route_passt_is_the_router() -> None:
    interface = evolve(testing.identity().interfaces[0], routes=())
    assert words(testing.identity(interface))["--gateway"] == ["172.17.0.1"]
    for own, router in (("172.17.0.1/16", "172.17.0.2"), ("172.17.0.2/32", "169.254.2.2")):
        assert words(testing.identity(testing.interface(own)))["--gateway"] == [router]
    via_ipv6 = Route(testing.route("0.0.0.0/0").destination, IPv6Address("fe80::1"))
    interface = evolve(interface, routes=(via_ipv6,))
    assert words(testing.identity(interface))["--gateway"] == ["172.17.0.1"]


PRETENDING = """
import ctypes, os
from vmnet.strategies.passt import launcher
before = [os.readlink(f"/proc/self/ns/{name}") for name in ("user", "mnt", "uts")]
launcher.pretend(os.uname().machine)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x10000000 | 0x00020000 | 0x04000000) == 0
assert libc.mount(b"", b"/nonexistent", b"tmpfs", 0, None) == 0
assert libc.umount2(b"/nonexistent", 0) == 0
assert [os.readlink(f"/proc/self/ns/{name}") for name in ("user", "mnt", "uts")] == before
assert os.path.exists("/proc/self")  # other calls have their effect
print("pretended")
"""


def test_refused_namespaces_seem_to_be_made() -> None:
    assert "pretended" in run(PRETENDING)


def test_every_machine_has_a_filter() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(launcher.program(machine)) % 8 == 0


def test_connections_that_do_not_reach_the_guest_are_named() -> None:
    dual = testing.interface("192.0.2.2/24", "2001:db8::2/64")
    listening = (PortRange("tcp", 80, 80), PortRange("tcp", 443, 443))
    identity = testing.identity(dual, listening=listening)
    at_one_address = evolve(LINK, listen=arguments.listen(dual, frozenset()))
    named = list(gaps.of_ports(identity, dual, at_one_address))
    assert named == [
        "connections to 80/tcp, on which programs of the container listen",
        "IPv6 connections to eth0: this passt listens at one address only",
    ]
    at_the_nic = evolve(LINK, listen=arguments.listen(dual, LINK.options))
    assert list(gaps.of_ports(testing.identity(dual), dual, at_the_nic)) == []
    ipv6 = testing.interface("2001:db8::2/64")
    assert list(gaps.of_ports(testing.identity(ipv6), ipv6, LINK)) == []


def test_names_that_do_not_reach_the_guest_are_named() -> None:
    search = ("corp.example", "a b", ".", *(f"s{number}.example" for number in range(6)))
    identity = testing.identity(
        hostname="w" * 64, domain="example.org", resolver=testing.resolver(search=search)
    )
    named = list(gaps.of_identity(identity, identity.interfaces[0], LINK, seeded=False))
    for line in (
        "search domains 'a b': not valid names",
        "search domains s5.example: passt hands over six",
        f"host name '{'w' * 64}': not a valid name",
        "domain example.org: use VMNET_IPAM=cloudinit",
    ):
        assert line in named
    seeded = gaps.of_identity(identity, identity.interfaces[0], LINK, seeded=True)
    assert not any("name" in line or "domain" in line for line in seeded)
