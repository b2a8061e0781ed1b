"""Name resolution in the guest with real clients, with and without vmnet's forwarder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv4Network, ip_address

import pytest

from tests.lab.clients.dhcp4 import Lease, udhcpc
from tests.lab.command import Argument, Process, run
from tests.lab.net.bridge_guest import guest
from tests.lab.net.lan import WORLD, Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import dns_server, dnsmasq
from tests.netns.conftest import Vmnet, bridge_address

DOCKER = "127.0.0.11"
ON_LOOPBACK = f"nameserver {DOCKER}\n"


@contextmanager
def engine(
    container: Namespace,
    networks: Mapping[str, str],
    names: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Process]:
    """Run a nameserver like Docker's, which knows each name with and without its network.

    :param networks: the network of each address of the container, for PTR records
    :param names: the addresses of each name, which includes its network
    """
    pointers = [
        f"--ptr-record={ip_address(address).reverse_pointer},web.{network}"
        for address, network in networks.items()
    ]
    records = [
        f"--host-record={name.partition('.')[0]},{name},{','.join(addresses)}"
        for name, addresses in (names or {}).items()
    ]
    # It answers NXDOMAIN for all other names, rather than refusing the query.
    own = [f"--local=/{network}/" for network in {"", *networks.values()}]
    bound = (f"--listen-address={DOCKER}", "--bind-interfaces")
    with dnsmasq(container, *pointers, *records, *own, *bound) as process:
        yield process


@contextmanager
def resolver(
    container: Namespace, names: Mapping[str, str], address: str = DOCKER
) -> Iterator[Process]:
    """Run a nameserver on loopback for internal.test; its negative answers are valid for an hour.

    It forwards all other domains to the outside world, as dockerd does from the container's
    namespace.
    """
    zone = ("--auth-zone=internal.test", f"--auth-server=ns.internal.test,{address}")
    records = [f"--host-record={name}.internal.test,{names[name]}" for name in names]
    bound = (f"--listen-address={address}", "--bind-interfaces", "--auth-ttl=3600")
    with dnsmasq(container, *zone, *records, *bound) as process:
        yield process


def resolve(where: Namespace, name: str, server: object, kind: str = "a") -> set[str]:
    """Return the addresses of a name; empty without such a name or an answer."""
    asked = where.run("busybox", "nslookup", f"-type={kind}", name, str(server), check=False)
    print(asked)  # for the report of a test that fails
    _, _, answer = asked.stdout.partition("\n\n")  # the first part is the server's own address
    return {line.split()[-1] for line in answer.splitlines() if line.startswith("Address")}


@contextmanager
def configured(container: Namespace) -> Iterator[tuple[Namespace, Lease]]:
    """Run a guest on the first bridge that has configured itself from its lease."""
    with guest(container, "br0", container.mac) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        yield vm, lease


def test_a_service_that_starts_later_and_moves(network: Lan, vmnet: Vmnet) -> None:
    """The forwarder caches no answer, because the container caches none."""
    web = network.container("web", resolv_conf=ON_LOOPBACK)
    found = []
    with vmnet.running(web), configured(web) as (vm, lease):
        for names in ({}, {"db": "172.30.1.77"}, {"db": "172.30.1.78"}):
            with resolver(web, names):
                found.append(resolve(vm, "db.internal.test", lease.dns[0]))
    assert found == [set(), {"172.30.1.77"}, {"172.30.1.78"}]


def test_nameservers_are_asked_in_order(network: Lan, vmnet: Vmnet) -> None:
    """The forwarder asks the second nameserver only if the first is silent."""
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
        ("search dns.podman\nnameserver 172.30.1.1\n", ["172.30.1.1"], ["dns.podman"]),
    ],
    ids=["empty", "no-server", "one", "five", "search", "both-families", "podman"],
)
def test_resolv_conf_reaches_the_client(
    network: Lan, vmnet: Vmnet, text: str, servers: list[str], search: list[str]
) -> None:
    web = network.container("web", resolv_conf=text)
    with vmnet.running(web) as process, configured(web) as (_, lease):
        output = process.output()
    assert ([str(server) for server in lease.dns], list(lease.search)) == (servers, search)
    assert ("nameserver 2001:db8::53" in output) == ("2001:db8::53" in text)


@pytest.mark.parametrize(
    ("search", "options"),
    [
        ("search example.org", "ndots:5 rotate"),
        ("", "rotate"),  # ndots decides when the search list is used
    ],
)
def test_options_that_are_not_carried_are_logged(
    network: Lan, vmnet: Vmnet, search: str, options: str
) -> None:
    lines = ("nameserver 192.0.2.1", search, "options ndots:5 rotate", "")
    web = network.container("web", resolv_conf="\n".join(lines))
    with vmnet.running(web) as process:
        assert f"not carried by dnsmasq: resolv.conf options: {options}\n" in process.output()


def test_the_options_that_docker_writes_cause_no_warning(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", resolv_conf="nameserver 192.0.2.1\noptions ndots:0\n")
    with vmnet.running(web) as process:
        assert "not carried" not in process.output()


def test_added_hosts_of_both_families_and_a_nameserver(network: Lan, vmnet: Vmnet) -> None:
    """``--add-host``, ``--link``; all other names come from the nameserver behind the gateway."""
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
        bridge_address(web)  # from which the forwarder asks the nameserver
        assert resolve(vm, "database", server) == resolve(vm, "db", server) == {"172.30.1.66"}
        assert resolve(vm, "six", server, "aaaa") == {"fd00:30:1::66"}
        assert resolve(vm, "www.example.test", server) == {"192.0.2.80"}


@pytest.mark.parametrize(("address", "gateway"), [("2/30", 1), ("6/31", 7)])
def test_a_subnet_with_no_address_to_spare(
    network: Lan, vmnet: Vmnet, address: str, gateway: int
) -> None:
    """The resolver's own names resolve; names from outside servers do not, and a warning says so.

    Without a spare address, the forwarder has only a link-local one.
    """
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
        assert "names outside the container's networks: no spare address" in process.output()


def test_nameservers_are_preferred_to_links_without_a_spare_address(
    network: Lan, vmnet: Vmnet
) -> None:
    """A forwarder for the links would replace the nameservers, which it can't ask from 169.254."""
    web = network.container(
        "web",
        address="172.30.1.2/30",
        hosts="172.30.1.66 db\n",
        resolv_conf=f"nameserver {WORLD}\n",
    )
    with vmnet.running(web) as process, configured(web) as (_, lease):
        output = process.output()
    assert lease.dns == (IPv4Address(WORLD),)
    assert "names from /etc/hosts (db): no spare address for the forwarder" in output


def test_an_internal_network_has_names_and_no_gateway(network: Lan, vmnet: Vmnet) -> None:
    """``docker network create --internal``: no warning, because the container had no gateway."""
    web = network.container("web", gateway=False, resolv_conf=ON_LOOPBACK)
    with (
        resolver(web, {"db": "172.30.1.77"}),
        vmnet.running(web) as process,
        configured(web) as (vm, lease),
    ):
        assert resolve(vm, "db.internal.test", lease.dns[0]) == {"172.30.1.77"}
        assert "not carried" not in process.output()
    assert lease.routers == ()


OWN_NETWORK = f"{ON_LOOPBACK}options ndots:0\n"


@pytest.mark.parametrize(
    ("resolv_conf", "settings", "search"),
    [
        (OWN_NETWORK, {}, ["lab", "back"]),
        (f"{OWN_NETWORK}search corp.example\n", {}, ["lab", "back", "corp.example"]),
        (f"{ON_LOOPBACK}search corp.example\n", {}, ["corp.example", "lab", "back"]),
        (OWN_NETWORK, {"VMNET_DNS": "192.0.2.53"}, []),
        (f"nameserver {WORLD}\n", {}, []),
    ],
    ids=["none", "given", "searched-first", "other-nameservers", "not-the-engine's"],
)
def test_the_networks_are_search_domains(
    network: Lan, vmnet: Vmnet, resolv_conf: str, settings: dict[str, str], search: list[str]
) -> None:
    """The networks of all NICs are in the lease, in the messages of IPv6 and in the plan."""
    with lan(2, host=network.host) as second:
        web = network.container("web", resolv_conf=resolv_conf, ipv6=True)
        nic = second.attach(web, "eth1", gateway=False)
        known = {web.address: "lab", str(web.nic().address6): "lab", nic.address: "back"}
        with (
            engine(web, known),
            vmnet.running(web, **settings) as process,
            configured(web) as (_, lease),
        ):
            assert list(lease.search) == search
            assert lease.domain == (search[0] if search else None)
            assert "does not report the name of this network" not in process.output()
            responder = json.loads((vmnet.run_dir / "responder.json").read_text())
            assert responder["nics"][0]["search"] == search
            plan = vmnet(web, "plan", **settings).stdout
            assert ("from the nameserver's names for the container's addresses" in plan) == (
                "lab" in search
            )


def test_an_engine_that_does_not_report_the_network_is_logged(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", resolv_conf=OWN_NETWORK)
    with vmnet.running(web) as process, configured(web) as (_, lease):
        assert "127.0.0.11 does not report the name of this network" in process.output()
    assert lease.search == ()


LOOKUP = """
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char text[INET6_ADDRSTRLEN];
    if (getaddrinfo(argv[1], 0, &hints, &found)) return 0;
    for (; found; found = found->ai_next) {
        void *address = found->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
        puts(inet_ntop(found->ai_family, address, text, sizeof text));
    }
}
"""


@pytest.fixture(scope="module")
def lookups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Argument, ...]]:
    """Programs that resolve a name with a guest's C library and print an address on each line."""
    folder = tmp_path_factory.mktemp("lookup")
    (folder / "lookup.c").write_text(LOOKUP)
    run("musl-gcc", "-static", "-o", folder / "musl", folder / "lookup.c")
    return {
        "glibc": ("getent", "-A", "ahosts"),
        "musl": (folder / "musl",),
        "busybox": ("busybox", "nslookup"),
    }


@pytest.mark.parametrize("libc", ["glibc", "musl", "busybox"])
def test_a_name_that_appears_later_and_moves(
    libc: str,
    lookups: dict[str, tuple[Argument, ...]],
    network: Lan,
    vmnet: Vmnet,
) -> None:
    """A single-label name of both families, with the resolv.conf that DHCP clients write."""
    web = network.container("web", resolv_conf=OWN_NETWORK, ipv6=True)
    own = {web.address: "lab"}
    moves = ((), ("172.30.1.77", "fd00:30:1::77"), ("172.30.1.78", "fd00:30:1::78"))
    found = []
    with ExitStack() as stack:
        with engine(web, own):
            stack.enter_context(vmnet.running(web))
        vm, lease = stack.enter_context(configured(web))
        servers = "".join(f"nameserver {server}\n" for server in lease.dns)
        (vm.etc / "resolv.conf").write_text(f"{servers}search {' '.join(lease.search)}\n")
        for addresses in moves:
            with engine(web, own, {"db.lab": addresses} if addresses else {}):
                output = vm.run(*lookups[libc], "db", check=False).stdout
            found.append(set(re.findall(r"172\.30\.1\.7\d|fd00:30:1::7\d", output)))
    assert found == list(map(set, moves))
