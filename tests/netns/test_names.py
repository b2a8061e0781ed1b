"""What the guest resolves, through vmnet's forwarder and without it, asked by real clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

import pytest

from tests.lab.command import Process
from tests.lab.dhcp_clients import Lease, udhcpc
from tests.lab.guest import guest
from tests.lab.namespace import Namespace
from tests.lab.netns import WORLD, Lan
from tests.lab.services import dns_server, dnsmasq
from tests.netns.conftest import Vmnet

DOCKER = "127.0.0.11"
ON_LOOPBACK = f"nameserver {DOCKER}\n"


@contextmanager
def resolver(
    container: Namespace, names: Mapping[str, str], address: str = DOCKER
) -> Iterator[Process]:
    """A resolver on loopback that says of every other name, for an hour: there is none.

    It asks the world for what is outside, as dockerd does from the container's namespace.
    """
    zone = ("--auth-zone=internal.test", f"--auth-server=ns.internal.test,{address}")
    records = [f"--host-record={name}.internal.test,{names[name]}" for name in names]
    bound = (f"--listen-address={address}", "--bind-interfaces", "--auth-ttl=3600")
    with dnsmasq(container, *zone, *records, *bound) as process:
        yield process


def resolve(where: Namespace, name: str, server: object, kind: str = "a") -> set[str]:
    """The addresses of a name; none where there is no such name, or no answer."""
    asked = where.run("busybox", "nslookup", f"-type={kind}", name, str(server), check=False)
    _, _, answer = asked.stdout.partition("\n\n")  # before it: the server's own address
    return {line.split()[-1] for line in answer.splitlines() if line.startswith("Address")}


@contextmanager
def configured(container: Namespace) -> Iterator[tuple[Namespace, Lease]]:
    """A guest on the first bridge that has done what its lease says."""
    with guest(container, "br0", container.mac) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        yield vm, lease


def test_a_service_that_starts_later_and_moves(network: Lan, vmnet: Vmnet) -> None:
    """The container remembers no answer, and so must nobody between the guest and its resolver."""
    web = network.container("web", resolv_conf=ON_LOOPBACK)
    found = []
    with vmnet.running(web), configured(web) as (vm, lease):
        for names in ({}, {"db": "172.30.1.77"}, {"db": "172.30.1.78"}):
            with resolver(web, names):
                found.append(resolve(vm, "db.internal.test", lease.dns[0]))
    assert found == [set(), {"172.30.1.77"}, {"172.30.1.78"}]


def test_nameservers_are_asked_in_order(network: Lan, vmnet: Vmnet) -> None:
    """The second knows little of the first one's names; it is asked where the first is silent."""
    web = network.container("web", resolv_conf=f"{ON_LOOPBACK}nameserver 127.0.0.12\n")
    with (
        resolver(web, {"db": "172.30.1.99", "other": "172.30.1.12"}, "127.0.0.12"),
        vmnet.running(web),
        configured(web) as (vm, lease),
    ):
        with resolver(web, {"db": "172.30.1.77"}):
            answers = [resolve(vm, "db.internal.test", lease.dns[0]) for _ in range(10)]
        assert answers == [{"172.30.1.77"}] * 10
        assert resolve(vm, "other.internal.test", lease.dns[0]) == {"172.30.1.12"}


@pytest.mark.parametrize(
    ("text", "servers", "search"),
    [
        ("", [], []),
        ("# nothing\n", [], []),
        ("nameserver 192.0.2.1\n", ["192.0.2.1"], []),
        (
            "".join(f"nameserver 192.0.2.{number}\n" for number in range(1, 6)),
            [f"192.0.2.{number}" for number in range(1, 6)],
            [],
        ),
        ("domain one.test\nsearch two.test three.test\n", [], ["two.test", "three.test"]),
        ("nameserver 192.0.2.1\nnameserver 2001:db8::53\n", ["192.0.2.1"], []),
    ],
    ids=["empty", "no-server", "one", "five", "search", "both-families"],
)
def test_what_resolv_conf_says_reaches_the_client(
    network: Lan, vmnet: Vmnet, text: str, servers: list[str], search: list[str]
) -> None:
    web = network.container("web", resolv_conf=text)
    with vmnet.running(web) as process, configured(web) as (_, lease):
        said = process.output()
    assert ([str(one) for one in lease.dns], list(lease.search)) == (servers, search)
    assert ("nameserver 2001:db8::53" in said) == ("2001:db8::53" in text)


@pytest.mark.parametrize(
    ("search", "named"),
    [
        ("search example.org", "ndots:5 rotate"),
        ("", "rotate"),  # ndots tells when the search list comes in
    ],
)
def test_options_are_named(network: Lan, vmnet: Vmnet, search: str, named: str) -> None:
    lines = ("nameserver 192.0.2.1", search, "options ndots:5 rotate", "")
    web = network.container("web", resolv_conf="\n".join(lines))
    with vmnet.running(web) as process:
        assert f"not carried by dnsmasq: resolv.conf options: {named}\n" in process.output()


def test_what_docker_writes_on_each_network_is_nothing_to_warn_of(
    network: Lan, vmnet: Vmnet
) -> None:
    web = network.container("web", resolv_conf="nameserver 192.0.2.1\noptions ndots:0\n")
    with vmnet.running(web) as process:
        assert "not carried" not in process.output()


def test_added_hosts_of_both_families_beside_a_nameserver(network: Lan, vmnet: Vmnet) -> None:
    """``--add-host``, ``--link``; all other names come from the nameserver beyond the gateway."""
    hosts = "127.0.0.1 localhost\n172.30.1.66 database db\nfd00:30:1::66 six\n172.30.1.2 web\n"
    web = network.container("web", hosts=hosts, resolv_conf=f"nameserver {WORLD}\n")
    world = network.world()
    with (
        dns_server(world, {"www.example.test": "192.0.2.80"}),
        vmnet.running(web),
        configured(web) as (vm, lease),
    ):
        (server,) = lease.dns
        assert server.is_link_local
        assert resolve(vm, "database", server) == resolve(vm, "db", server) == {"172.30.1.66"}
        assert resolve(vm, "six", server, "aaaa") == {"fd00:30:1::66"}
        assert resolve(vm, "www.example.test", server) == {"192.0.2.80"}


@pytest.mark.parametrize(("address", "gateway"), [("2/30", 1), ("6/31", 7)])
def test_a_subnet_with_no_address_to_spare(
    network: Lan, vmnet: Vmnet, address: str, gateway: int
) -> None:
    """The resolver's own names resolve; what it asks others for does not, and is named."""
    web = network.container(
        "web",
        address=f"172.30.1.{address}",
        gateway=f"172.30.1.{gateway}",
        resolv_conf=ON_LOOPBACK,
    )
    if gateway != 1:
        network.host.ip("address", "add", f"172.30.1.{gateway}/32", "dev", network.bridge)
    with (
        resolver(web, {"db": "172.30.1.77"}),
        vmnet.running(web) as process,
        configured(web) as (vm, lease),
    ):
        assert str(lease.address) == f"172.30.1.{address}"
        (server,) = lease.dns
        assert server.is_link_local
        assert (IPv4Network(server), IPv4Address(0)) in lease.routes
        assert resolve(vm, "db.internal.test", server) == {"172.30.1.77"}
        network.world()
        vm.run("ping", "-c1", "-W5", WORLD)
        assert "asks outside servers for: no spare address" in process.output()


def test_links_give_way_to_nameservers_where_one_of_both_must(network: Lan, vmnet: Vmnet) -> None:
    """To serve links a forwarder would hide the nameservers, which it can't ask from 169.254."""
    web = network.container(
        "web",
        address="172.30.1.2/30",
        hosts="172.30.1.66 db\n",
        resolv_conf=f"nameserver {WORLD}\n",
    )
    with vmnet.running(web) as process, configured(web) as (_, lease):
        said = process.output()
    assert lease.dns == (IPv4Address(WORLD),)
    assert "names from /etc/hosts (db): no spare address for a forwarder" in said


def test_an_internal_network_has_names_and_no_way_out(network: Lan, vmnet: Vmnet) -> None:
    """``docker network create --internal``: what the container could not ask is not missed."""
    web = network.container("web", gateway=False, resolv_conf=ON_LOOPBACK)
    with (
        resolver(web, {"db": "172.30.1.77"}),
        vmnet.running(web) as process,
        configured(web) as (vm, lease),
    ):
        assert resolve(vm, "db.internal.test", lease.dns[0]) == {"172.30.1.77"}
        assert "not carried" not in process.output()
    assert lease.routers == ()
