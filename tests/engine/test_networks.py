"""On a real engine, a guest resolves the names and reaches the networks of its container."""

from __future__ import annotations

import json
from functools import partial

import pytest

from tests.engine.conftest import BOOT_SECONDS, FETCH, NET_ADMIN, VM, Vms
from tests.engine.test_running import await_output
from tests.lab.engines.docker import Container
from tests.lab.wait import WAIT, until
from vmnet.errors import CaptureError

pytestmark = [pytest.mark.engine, pytest.mark.long]

# Prints the MACs of the interfaces in order, and the interface of the default route.
_INSPECT = """
import json, pathlib
nics = sorted(pathlib.Path("/sys/class/net").glob("eth*"))
routes = [line.split() for line in pathlib.Path("/proc/net/route").read_text().splitlines()]
default = [route[0] for route in routes if route[1] == "00000000"]
print(json.dumps([[(nic / "address").read_text().strip() for nic in nics], *default]))
"""

# A kernel with the address refuses the connection. Without it, there is no answer.
_CONNECT = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=10)
except TimeoutError:
    print("TimeoutError")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def lookup(vms: Vms, vm: Container, network: str, name: str) -> list[str]:
    """Return the addresses to which a guest resolves a name."""
    addresses: list[str] = vms.query(vm.address(network), f"lookup?name={name}")["addresses"]
    return addresses


def web_server(vms: Vms, *options: str) -> Container:
    """Start a container with a web server."""
    return vms.docker.start(
        vms.image, *("-m", "http.server", "80"), options=[*options, "--entrypoint", "python3"]
    )


def test_names_of_later_containers_and_outside_hosts(vms: Vms) -> None:
    """Compose makes a service's name an alias on the project's network."""
    with vms.docker.network("vmt-later", "--subnet", "10.213.80.0/24") as network:
        on_network = ("--network", network)
        outside = vms.docker.start(
            vms.image,
            *("--no-daemon", "--log-facility=-", "--address=/www.outside.test/192.0.2.80"),
            options=[*on_network, *NET_ADMIN, "--entrypoint", "dnsmasq"],
        )
        vm = vms.start(
            *on_network,
            *("--dns", outside.address(network), "--dns-search", "outside.test"),
            *("--dns-option", "ndots:2", "--add-host", "added:192.0.2.7"),
        )
        logs = vms.await_log(vm, f"vmnet-guest: eth0 {vm.address(network)}/24")
        assert "not carried by dnsmasq: resolv.conf options: ndots:2" in logs
        assert lookup(vms, vm, network, "db") == []
        for _ in range(2):  # the database is removed and started again
            alias = ("--network-alias", "db", "--name", "vmt-project-db-1")
            database = web_server(vms, *on_network, *alias)
            addresses = [database.address(network)]
            assert lookup(vms, vm, network, "db") == addresses
            assert lookup(vms, vm, network, "vmt-project-db-1") == addresses
            database.rm()
            assert lookup(vms, vm, network, "db") == []
        assert lookup(vms, vm, network, "added") == ["192.0.2.7"]
        assert lookup(vms, vm, network, "www.outside.test") == ["192.0.2.80"]
        assert lookup(vms, vm, network, "www") == ["192.0.2.80"]
        # The network's name comes from Docker's DNS. It follows the given domain, because with
        # ndots:2 the container searches first.
        assert planned_resolver(vm)["search"] == ["outside.test", network]
        vm.rm()
        outside.rm()


def test_links_on_the_default_bridge(vms: Vms) -> None:
    database = web_server(vms, "--name", "vmt-linked")
    vm = vms.start("--link", "vmt-linked:database", "--add-host", "added:192.0.2.7")
    vms.await_log(vm, f"vmnet-guest: eth0 {vm.address()}/")
    for name in ("database", "vmt-linked"):
        assert lookup(vms, vm, "bridge", name) == [database.address()]
    assert lookup(vms, vm, "bridge", "added") == ["192.0.2.7"]
    # The database gets another address, and the engine rewrites the VM's /etc/hosts.
    before = database.address()
    database.kill()
    database.wait()
    assert web_server(vms).address() == before
    vms.docker.docker("start", database.id)
    after = [database.address()]
    assert after != [before]
    until(lambda: lookup(vms, vm, "bridge", "database") == after, WAIT, "the new address")


def test_networks_connected_before_the_start(vms: Vms) -> None:
    """The guest has the container's order of NICs and its default route, also after a restart."""
    with (
        vms.docker.network("vmt-zulu", "--subnet", "10.213.81.0/24") as first,
        vms.docker.network("vmt-alpha", "--subnet", "10.213.82.0/24") as second,
    ):

        def connected(*options: str, command: tuple[str, ...] = ()) -> Container:
            create = ("create", "--label", vms.docker.label, "--network", first, *options)
            container = vms.docker.docker(*create, vms.image, *command).stdout.strip()
            vms.docker.docker("network", "connect", second, container)
            vms.docker.docker("start", container)
            return Container(vms.docker, container)

        plain = connected("--entrypoint", "sleep", command=("600",))
        order, default = network_order(plain)
        vm = connected(*NET_ADMIN, *VM)

        def require_same_networks(start: int) -> None:
            for number in range(len(order)):
                lease = f"vmnet-guest: eth{number} 10.213."
                leased = partial(_has_lines, vm, lease, start)
                until(leased, BOOT_SECONDS, f"lease {start} of eth{number}", detail=vm.logs)
            by_mac = {mac: network for network, mac in macs(vm).items()}
            identity = vms.query(vm.address(first), "identity")
            assert [by_mac[nic["mac"]] for nic in identity["interfaces"]] == order
            assert [nic["name"] for nic in identity["interfaces"]] == ["eth0", "eth1"]
            routes = [route.split() for route in identity["routes"] if route.startswith("default ")]
            assert [route[4] for route in routes] == [default]
            for network in order:
                fetch = ("--network", network, "--entrypoint", "python3")
                address = vm.address(network)
                page = vms.docker.run(vms.image, "-c", FETCH, f"http://{address}/", options=fetch)
                assert address in page.stdout

        require_same_networks(1)
        resolver = planned_resolver(vm)
        assert resolver["search"] == resolver["networks"] == order
        vm.restart()
        require_same_networks(2)
        vm.rm()
        plain.rm()


def test_networks_that_are_connected_and_disconnected_while_a_vm_runs(vms: Vms) -> None:
    """Without hot-plug, the engine connects and disconnects normally, and nothing answers there."""
    connect, disconnect = ("network", "connect"), ("network", "disconnect")
    with (
        vms.docker.network("vmt-first", "--subnet", "10.213.86.0/24") as first,
        vms.docker.network("vmt-second", "--subnet", "10.213.87.0/24") as second,
    ):
        neighbour = web_server(vms, "--network", second)
        vm = vms.start("--network", first, "-e", "VMNET_HOTPLUG=0")
        vms.await_log(vm, "the guest gets MAC ")
        until(lambda: "QEMU" in vm.exec("vmnet", "status", check=False).stdout, WAIT, "QEMU")
        vms.docker.docker(*connect, second, vm.id)
        vms.await_log(vm, "eth1 was added, but the VM is not on that network: vmnet blocks it")
        connecting = ("python3", "-c", _CONNECT, vm.address(second))
        assert neighbour.exec(*connecting).stdout.split() in (["EHOSTUNREACH"], ["TimeoutError"])
        vms.docker.docker(*disconnect, second, vm.id)
        await_output(vm, lambda output: output.startswith(("starting", "healthy")), "health")
        vms.docker.docker(*disconnect, first, vm.id)
        vms.await_log(vm, "eth0 is gone, and the VM is off its network")
        await_output(vm, lambda output: "unhealthy: eth0 is gone" in output, "health")
        for container in (vm, neighbour):
            container.rm()


def test_the_network_of_the_engine_s_host_is_refused(vms: Vms) -> None:
    """A private engine runs in a network namespace, as Docker in Docker does."""
    refused = vms.docker.run(vms.image, options=(*NET_ADMIN, "--network", "host"), check=False)
    assert refused.returncode == CaptureError.exit_code, refused.stderr
    assert "this is a host's own network namespace" in refused.stderr
    assert vms.docker.on_host("ip", "link", "show", "br0", check=False).returncode


def _has_lines(vm: Container, text: str, number: int) -> bool:
    return vm.logs().count(text) == number


def planned_resolver(vm: Container) -> dict[str, list[str]]:
    """Return the resolver in the VM's plan."""
    plan = json.loads(vm.exec("vmnet", "plan", "--json").stdout)
    resolver: dict[str, list[str]] = plan["identity"]["resolver"]
    return resolver


def macs(container: Container) -> dict[str, str]:
    """Return the container's MAC on each of its networks."""
    networks = container.inspect()["NetworkSettings"]["Networks"]
    return {name: endpoint["MacAddress"] for name, endpoint in networks.items()}


def network_order(container: Container) -> tuple[list[str], str]:
    """Return the networks in the order of the interfaces, and the default route's interface."""
    by_mac = {mac: network for network, mac in macs(container).items()}
    in_order, default = json.loads(container.exec("python3", "-c", _INSPECT).stdout)
    return [by_mac[mac] for mac in in_order], default
