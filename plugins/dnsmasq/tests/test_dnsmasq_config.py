"""dnsmasq.conf: golden files, and properties for what must never happen."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from vmnet_dnsmasq import boot_file
from vmnet_dnsmasq.boot_file import BootFile
from vmnet_dnsmasq.config import Paths, Service, render, render_hosts
from vmnet_dnsmasq.routes import classless
from vmnet_dnsmasq.rows import ROWS

from tests.lab.net.namespace import namespace
from vmnet import testing
from vmnet.api import Host, Identity, SettingsError, Wiring
from vmnet.testing import golden, interface, resolver, route

PATHS = Paths.below(Path("/run/vmnet"))
GOLDEN = Path(__file__).with_name("golden")
Case = tuple[Identity, Wiring]


def test_a_default_route_lowers_the_mtu_of_the_lease() -> None:
    default = route("0.0.0.0/0", "172.18.0.1", mtu=1450)
    nic = interface("172.18.0.2/16", routes=(default,))
    identity = testing.identity(nic)
    service = Service.of(identity, testing.wiring(identity))
    assert (service.leases[0].mtu, service.not_carried) == (1450, ())
    other = route("10.0.0.0/8", "172.18.0.1", mtu=1400)
    identity = testing.identity(evolve(nic, routes=(default, other)))
    service = Service.of(identity, testing.wiring(identity))
    assert service.not_carried == ("route MTUs of eth0 (use VMNET_IPAM=cloudinit)",)


def simple() -> Case:
    identity = testing.identity()
    return identity, testing.wiring(identity)


def everything() -> Case:
    """Routes, a gateway off the subnet, links, a resolver on loopback, two NICs, MTU, NTP."""
    eth0 = interface("172.18.0.2/16", name="eth0", mtu=1450)
    eth0 = evolve(eth0, routes=(route("10.1.0.0/16", "172.18.0.9"),))
    eth1 = interface("10.65.0.7/32", name="eth1", gateway="169.254.1.1")
    identity = testing.identity(
        eth0,
        eth1,
        hostname="web",
        domain="example.org",
        resolver=resolver("127.0.0.11", search=("example.org", "corp.example.org")),
        hosts=(Host(ip_address("172.18.0.66"), ("database", "db")),),
        ntp=(ip_address("192.0.2.123"),),
    )
    return identity, testing.wiring(identity, nameserver="172.18.255.254/16")


def ptp() -> Case:
    """CNI's ptp plugin: the container's neighbours are behind the gateway."""
    eth0 = interface(
        "10.247.0.2/24",
        routes=(
            route("0.0.0.0/0", "10.247.0.1"),
            route("10.247.0.0/24", "10.247.0.1"),
            route("10.247.0.1/32"),
        ),
        off_link=(IPv4Network("10.247.0.0/24"),),
    )
    identity = testing.identity(eth0)
    return identity, testing.wiring(identity)


def forwarder_only() -> Case:
    """Another strategy, without DHCP."""
    identity = testing.identity(resolver=resolver("127.0.0.11"))
    wiring = testing.wiring(identity, contain=False, nameserver="172.17.255.254/16")
    return identity, wiring


@pytest.mark.parametrize(
    "case", [simple, everything, ptp, forwarder_only], ids=lambda case: case.__name__
)
def test_golden(case: Callable[[], Case]) -> None:
    text = render(Service.of(*case()), PATHS)
    assert text == golden(GOLDEN / f"{case.__name__}.conf", text)


@pytest.mark.parametrize(
    "case", [simple, everything, ptp, forwarder_only], ids=lambda case: case.__name__
)
def test_dnsmasq_accepts_the_configuration(case: Callable[[], Case], tmp_path: Path) -> None:
    config = tmp_path / "dnsmasq.conf"
    config.write_text(render(Service.of(*case()), PATHS))
    with namespace("dnsmasq") as container:  # dnsmasq checks that the bridges exist
        for bridge in ("br0", "br1"):
            container.ip("link", "add", bridge, "type", "bridge")
        checked = container.run("dnsmasq", "--test", f"--conf-file={config}")
    assert "syntax check OK" in checked.stderr


NAMES = st.text(min_size=1, max_size=40) | st.sampled_from(
    ["a\ndhcp-script=/bin/sh", "a,b", "a b", "#", "x\0", "web\r", "..", "-a", "ünï"]
)


@given(hostname=NAMES, domain=NAMES, search=st.lists(NAMES, max_size=3), name=NAMES)
def test_no_name_breaks_out_of_its_line(
    hostname: str, domain: str, search: list[str], name: str
) -> None:
    """Every line of dnsmasq.conf begins with a known option, for any names."""
    identity = testing.identity(
        hostname=hostname,
        domain=domain,
        resolver=resolver("127.0.0.11", search=tuple(search)),
        hosts=(Host(ip_address("172.17.0.9"), (name,)),),
    )
    service = Service.of(identity, testing.wiring(identity, nameserver="172.17.255.254/16"))
    known = {
        line.partition("=")[0] for line in render(Service.of(*everything()), PATHS).split("\n")
    }
    known |= {"dhcp-ignore-names", "address"}  # for a host name with capitals
    for line in render(service, PATHS).split("\n"):
        assert line.partition("=")[0] in known
        assert line.isascii()
        assert line.isprintable()
    for line in render_hosts(service.hosts).splitlines():
        address, names = line.split("\t")
        assert ip_address(address) == ip_address("172.17.0.9")
        assert names.split()[0] == name.lower()
        assert names.split()[1:] in ([], [f"{name.lower()}.links.internal"])


def test_a_thousand_routes_fill_the_option_and_the_rest_is_reported() -> None:
    nic = interface("172.17.0.2/16", gateway="172.17.0.1")
    many = tuple(route(f"10.{n // 256}.{n % 256}.0/24", "172.17.0.9") for n in range(1000))
    identity = testing.identity(evolve(nic, routes=nic.routes + many))
    option = classless(identity.interfaces[0])
    assert sum(5 + -(-destination.prefixlen // 8) for destination, _ in option.pairs) <= 255
    assert option.pairs[-1] == (route("0.0.0.0/0").destination, IPv4Address("172.17.0.1"))
    assert len(option.left_out) + len(option.pairs) == 1001
    (line,) = Service.of(identity, testing.wiring(identity)).not_carried
    assert f"{len(option.left_out)} of 1001 routes of eth0" in line
    assert "VMNET_IPAM=cloudinit" in line


def test_names_that_no_client_could_read_are_reported() -> None:
    search = resolver("192.0.2.53", search=("a b", ".", "corp.example"))
    identity = testing.identity(hostname="-web", domain=".b", resolver=search)
    service = Service.of(identity, testing.wiring(identity))
    assert service.domain == "corp.example"
    assert service.not_carried == (
        "host name '-web': not a valid name",
        "domain '.b': not a valid name",
        "search domains 'a b': not valid names",
    )


def test_metrics_and_several_default_routes_are_reported() -> None:
    nic = interface("172.17.0.2/16")
    routes = (
        route("0.0.0.0/0", "172.17.0.9", metric=200),
        route("0.0.0.0/0", "172.17.0.1", metric=100),
    )
    identity = testing.identity(evolve(nic, routes=routes))
    service = Service.of(identity, testing.wiring(identity))
    assert service.leases[0].router == IPv4Address("172.17.0.1")
    outranked = "less preferred routes of eth0: 0.0.0.0/0 via 172.17.0.9 "
    assert any(line.startswith(outranked) for line in service.not_carried)
    assert any("route metrics of eth0" in line for line in service.not_carried)


def test_a_metric_that_nothing_is_compared_with_is_not_reported() -> None:
    """As on Podman's default network, whose only route has the metric 100."""
    nic, other = interface("172.17.0.2/16"), interface("172.18.0.2/16", name="eth1")
    nic = evolve(nic, routes=(route("0.0.0.0/0", "172.17.0.1", metric=100),))
    alone, two = testing.identity(nic), testing.identity(nic, other)
    assert Service.of(alone, testing.wiring(alone)).not_carried == ()
    (line,) = Service.of(two, testing.wiring(two)).not_carried
    assert line.startswith("route metrics of eth0")


def test_the_guest_gets_the_best_of_several_routes_to_a_destination() -> None:
    hops = tuple(
        route("10.1.0.0/16", f"172.17.0.{metric}", metric=metric) for metric in (50, 20, 30, 40, 60)
    )
    nic = evolve(interface("172.17.0.2/16"), routes=hops)
    identity = testing.identity(nic)
    assert classless(nic).pairs == ((hops[0].destination, IPv4Address("172.17.0.20")),)
    (outranked, metrics) = Service.of(identity, testing.wiring(identity)).not_carried
    assert "10.1.0.0/16 via 172.17.0.50" in outranked
    assert "172.17.0.20" not in outranked
    assert "and 1 more" in outranked
    assert "route metrics" in metrics


@pytest.mark.parametrize("own", ["172.17.0.2/16", "172.17.0.2/32"])
def test_a_default_route_without_a_gateway_is_in_the_option(own: str) -> None:
    nic = interface(own, routes=(route("0.0.0.0/0"),))
    identity = testing.identity(nic)
    service = Service.of(identity, testing.wiring(identity))
    assert service.leases[0].classless == ((IPv4Network("0.0.0.0/0"), IPv4Address(0)),)
    assert service.not_carried == ()


def test_a_source_address_other_than_the_first_is_reported() -> None:
    own, other = ip_address("172.17.0.2"), ip_address("172.17.0.3")
    routes = (route("10.1.0.0/16", source=own), route("10.2.0.0/16", source=other))
    nic = interface("172.17.0.2/16", "172.17.0.3/16")
    for count, expected in ((1, 1), (2, 2)):  # the further address is a separate line
        identity = testing.identity(evolve(nic, routes=routes[:count]))
        assert len(Service.of(identity, testing.wiring(identity)).not_carried) == expected


def test_seventy_nameservers_and_a_long_search_list_are_cut_and_reported() -> None:
    nameservers = [f"192.0.2.{number}" for number in range(1, 71)]
    search = tuple(f"{letter * 60}.example" for letter in "abcd")
    assert len(" ".join(search)) > 269
    identity = testing.identity(resolver=resolver(*nameservers, search=search))
    service = Service.of(identity, testing.wiring(identity))
    assert (len(service.nameservers), len(service.search)) == (63, 3)
    assert service.not_carried == (
        f"1 of 4 search domains, from {search[3]} on: a DHCP option holds 255 bytes "
        "(use VMNET_IPAM=cloudinit)",
        "7 of 70 nameservers, from 192.0.2.64 on: a DHCP option holds 255 bytes "
        "(use VMNET_IPAM=cloudinit)",
        "search domains of eth0, if the DHCP client accepts only 576 bytes "
        "(use VMNET_IPAM=cloudinit)",
    )


def test_a_far_forwarder_takes_room_in_the_option() -> None:
    """A route to a /24 takes eight bytes, a far gateway nine."""
    nic = interface("10.0.0.2/32", gateway="169.254.1.1")
    many = tuple(route(f"10.1.{n}.0/24", "169.254.1.1") for n in range(40))
    identity = testing.identity(
        evolve(nic, routes=nic.routes + many), resolver=resolver("127.0.0.11")
    )
    service = Service.of(identity, testing.wiring(identity, nameserver="169.254.7.7/32"))
    (lease,) = service.leases
    assert (IPv4Network("169.254.7.7/32"), IPv4Address(0)) in lease.classless
    left_out = 40 + 3 - len(lease.classless)
    assert any(line.startswith(f"{left_out} of 41 routes") for line in service.not_carried)


def test_gaps_of_the_forwarder_are_reported_with_every_strategy() -> None:
    identity = testing.identity(
        interface("10.0.0.2/30", gateway="10.0.0.1"),
        resolver=resolver("127.0.0.11", "2001:db8::53", options=("ndots:0",)),
    )
    wiring = testing.wiring(identity, contain=False, nameserver="169.254.7.7/32")
    (nameserver, outside) = Service.of(identity, wiring).not_carried
    assert nameserver.startswith("nameserver 2001:db8::53: the forwarder speaks only IPv4")
    assert outside.startswith("names outside the container's networks")


def test_a_nameserver_that_the_container_could_not_reach_is_reported() -> None:
    identity = testing.identity(resolver=resolver("192.0.2.53", "2001:db8::53"))
    (line,) = Service.of(identity, testing.wiring(identity)).not_carried
    assert line == "nameserver 2001:db8::53: the container has no IPv6 address"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("tftp://192.0.2.1/boot/x.ipxe", '"boot/x.ipxe",,192.0.2.1'),
        ("tftp://boot.example/x,y", '"tftp://boot.example/x,y"'),
        ("http://192.0.2.1/x.ipxe?a=b", '"http://192.0.2.1/x.ipxe?a=b"'),
    ],
)
def test_the_boot_file(url: str, words: str) -> None:
    identity = testing.identity()
    boot = boot_file.of(testing.settings({"VMNET_BOOT_URL": url}, *ROWS))
    service = Service.of(identity, testing.wiring(identity), boot)
    assert f"dhcp-boot=tag:br0,{words}" in render(service, PATHS).splitlines()


@pytest.mark.parametrize(
    "url",
    ["tftp://192.0.2.1/", "ftp://h/x", "http://h/a b", 'http://h/"x', "http://h/" + 120 * "x"],
)
def test_a_boot_url_that_dhcp_cannot_carry_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^VMNET_BOOT_URL=.* is not a URL such as"):
        testing.settings({"VMNET_BOOT_URL": url}, *ROWS)


def test_a_boot_file_takes_the_room_of_other_options() -> None:
    identity = testing.identity(ntp=tuple(map(ip_address, range(0xC0000201, 0xC0000201 + 45))))
    boot = BootFile(100 * "x", None)
    wiring = testing.wiring(identity)
    assert not Service.of(identity, wiring).not_carried
    (line,) = Service.of(identity, wiring, boot).not_carried
    assert line.startswith("time servers of eth0, if the DHCP client accepts only 576 bytes")
