"""Names and several networks on a real engine: what a container there could resolve and reach."""

from __future__ import annotations

import json

import pytest

from tests.engine.conftest import FETCH, NET_ADMIN, Vms
from tests.lab.engine import Container
from tests.lab.wait import until
from vmnet.errors import CaptureError

pytestmark = [pytest.mark.engine, pytest.mark.long]

# The MACs of the interfaces in order, and the interface that the default route leads through.
_LOOK = """
import json, pathlib
nics = sorted(pathlib.Path("/sys/class/net").glob("eth*"))
routes = [line.split() for line in pathlib.Path("/proc/net/route").read_text().splitlines()]
default = [one[0] for one in routes if one[1] == "00000000"]
print(json.dumps([[(nic / "address").read_text().strip() for nic in nics], *default]))
"""

# A kernel that has the address refuses the connection; otherwise there is no answer.
_TRY = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=10)
except TimeoutError:
    print("TimeoutError")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def lookup(vms: Vms, vm: Container, network: str, name: str) -> list[str]:
    found: list[str] = vms.ask(vm.address(network), f"lookup?name={name}")["addresses"]
    return found


def serving(vms: Vms, *options: str) -> Container:
    """A container with a web server."""
    return vms.docker.start(
        vms.image, *("-m", "http.server", "80"), options=[*options, "--entrypoint", "python3"]
    )


def test_names_of_what_comes_later_and_what_is_outside(vms: Vms) -> None:
    """As Compose lays a project out: each service's name is an alias on the project's network."""
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
        said = vms.says(vm, f"vmnet-guest: eth0 {vm.address(network)}/24")
        assert "not carried by dnsmasq: resolv.conf options: ndots:2" in said
        assert lookup(vms, vm, network, "db") == []
        for _ in range(2):  # it comes, goes, and comes back
            alias = ("--network-alias", "db", "--name", "vmt-project-db-1")
            database = serving(vms, *on_network, *alias)
            own = [database.address(network)]
            assert lookup(vms, vm, network, "db") == own
            assert lookup(vms, vm, network, "vmt-project-db-1") == own
            database.rm()
            assert lookup(vms, vm, network, "db") == []
        assert lookup(vms, vm, network, "added") == ["192.0.2.7"]
        assert lookup(vms, vm, network, "www.outside.test") == ["192.0.2.80"]
        assert lookup(vms, vm, network, "www") == ["192.0.2.80"]
        # Docker's own answer; behind the given one, since ndots:2 has the container search first.
        assert planned(vm)["search"] == ["outside.test", network]
        vm.rm()
        outside.rm()


def test_links_on_the_default_bridge(vms: Vms) -> None:
    database = serving(vms, "--name", "vmt-linked")
    vm = vms.start("--link", "vmt-linked:database", "--add-host", "added:192.0.2.7")
    vms.says(vm, f"vmnet-guest: eth0 {vm.address()}/")
    for name in ("database", "vmt-linked"):
        assert lookup(vms, vm, "bridge", name) == [database.address()]
    assert lookup(vms, vm, "bridge", "added") == ["192.0.2.7"]
    # It comes back with another address, and the engine rewrites the VM's /etc/hosts.
    before = database.address()
    database.kill()
    database.wait()
    assert serving(vms).address() == before
    vms.docker.docker("start", database.id)
    after = [database.address()]
    assert after != [before]
    until(lambda: lookup(vms, vm, "bridge", "database") == after, 30, "the new address")


def test_networks_connected_before_the_start(vms: Vms) -> None:
    """The guest's NICs are in the container's order, and stay so; the default route as well."""
    with (
        vms.docker.network("vmt-zulu", "--subnet", "10.213.81.0/24") as first,
        vms.docker.network("vmt-alpha", "--subnet", "10.213.82.0/24") as second,
    ):

        def connected(*options: str, command: tuple[str, ...] = ()) -> Container:
            create = ("create", "--label", vms.docker.label, "--network", first, *options)
            made = vms.docker.docker(*create, vms.image, *command).stdout.strip()
            vms.docker.docker("network", "connect", second, made)
            vms.docker.docker("start", made)
            return Container(vms.docker, made)

        plain = connected("--entrypoint", "sleep", command=("600",))
        order, default = looked(plain)
        vm = connected(*NET_ADMIN, "-e", "VMNET_MEMORY=256M")

        def require_the_same_place() -> None:
            by_mac = {mac: network for network, mac in macs(vm).items()}
            identity = vms.ask(vm.address(first), "identity")
            assert [by_mac[one["mac"]] for one in identity["interfaces"]] == order
            assert [one["name"] for one in identity["interfaces"]] == ["eth0", "eth1"]
            routes = [one.split() for one in identity["routes"] if one.startswith("default ")]
            assert [one[4] for one in routes] == [default]
            for network in order:
                fetch = ("--network", network, "--entrypoint", "python3")
                own = vm.address(network)
                page = vms.docker.run(vms.image, "-c", FETCH, f"http://{own}/", options=fetch)
                assert own in page.stdout

        for number, network in enumerate(order):
            vms.says(vm, f"vmnet-guest: eth{number} {vm.address(network)}/24")
        assert planned(vm)["search"] == planned(vm)["networks"] == order
        require_the_same_place()
        vms.docker.docker("restart", "-t", "20", vm.id, timeout=60)
        require_the_same_place()
        vm.rm()
        plain.rm()


def test_networks_that_come_and_go_while_a_vm_runs(vms: Vms) -> None:
    """The engine connects and disconnects as ever; nothing answers in the guest's place."""
    connect, disconnect = ("network", "connect"), ("network", "disconnect")
    with (
        vms.docker.network("vmt-first", "--subnet", "10.213.86.0/24") as first,
        vms.docker.network("vmt-second", "--subnet", "10.213.87.0/24") as second,
    ):
        neighbour = serving(vms, "--network", second)
        vm = vms.start("--network", first)
        vms.says(vm, "the guest gets MAC ")
        until(lambda: "QEMU" in vm.exec("vmnet", "status", check=False).stdout, 30, "QEMU")
        vms.docker.docker(*connect, second, vm.id)
        vms.says(vm, "eth1 was added, but the VM is not on that network: vmnet blocks it")
        tried = ("python3", "-c", _TRY, vm.address(second))
        assert neighbour.exec(*tried).stdout.split() in (["EHOSTUNREACH"], ["TimeoutError"])
        vms.docker.docker(*disconnect, second, vm.id)
        assert "eth0" not in vm.exec("vmnet", "health", check=False).stdout.split(":")[0]
        vms.docker.docker(*disconnect, first, vm.id)
        vms.says(vm, "eth0 is gone, and the VM is off its network")
        asked = vm.exec("vmnet", "health", check=False)
        assert (asked.returncode, "eth0 is gone" in asked.stdout) == (1, True)
        for one in (vm, neighbour):
            one.rm()


def test_the_network_of_the_engines_host_is_refused(vms: Vms) -> None:
    """The engine itself is mostly in a namespace here, as Docker in Docker is."""
    ended = vms.docker.run(vms.image, options=(*NET_ADMIN, "--network", "host"), check=False)
    assert ended.returncode == CaptureError.exit_code, ended.stderr
    assert "this is a host's own network namespace" in ended.stderr
    assert vms.docker.on_host("ip", "link", "show", "br0", check=False).returncode


def planned(vm: Container) -> dict[str, list[str]]:
    """The resolver as the guest is told of it."""
    plan = json.loads(vm.exec("vmnet", "plan", "--json").stdout)
    found: dict[str, list[str]] = plan["identity"]["resolver"]
    return found


def macs(container: Container) -> dict[str, str]:
    """Its MAC on each of its networks."""
    networks = container.inspect()["NetworkSettings"]["Networks"]
    return {name: one["MacAddress"] for name, one in networks.items()}


def looked(container: Container) -> tuple[list[str], str]:
    """Its networks in the order of its interfaces, and the interface of its default route."""
    by_mac = {mac: network for network, mac in macs(container).items()}
    found, default = json.loads(container.exec("python3", "-c", _LOOK).stdout)
    return [by_mac[mac] for mac in found], default
