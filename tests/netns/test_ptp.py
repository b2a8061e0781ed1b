"""CNI's real ptp plugin: a container whose subnet is behind its gateway."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from vmnet_cloudinit import seed
from vmnet_cloudinit.content import UserContent

from tests.lab.clients.dhcp4 import CLIENTS, Client, udhcpc
from tests.lab.clients.dhcp6 import dhclient6
from tests.lab.images.debian_host import debian_host
from tests.lab.net import ptp, snapshot
from tests.lab.net.bridge_guest import guest
from tests.lab.net.namespace import Namespace, namespace
from tests.lab.net.services import web_server
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet
from tests.netns.test_host_systems import NETWORKD
from tests.netns.test_ipv6 import machine, routers
from tests.netns.test_kept_ports import page
from vmnet.errors import LaunchError
from vmnet.model.identity import Identity
from vmnet.model.serial import from_json
from vmnet.model.wiring import Wiring

_CONVERT = (
    *("cloud-init", "devel", "net-convert", "--network-data", "/root/network", "--kind", "yaml"),
    *("--distro", "debian", "--directory", "/", "--output-kind"),
)


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[tuple[Namespace, Namespace]]:
    """Two containers; tests run a VM in the first."""
    with namespace("host") as host, namespace("web") as web, namespace("db") as db:
        for container in (web, db):
            ptp.attach(host, container, tmp_path / "ipam")
        yield web, db


@pytest.mark.parametrize("client", CLIENTS)
def test_the_lease_has_no_on_link_subnet(
    containers: tuple[Namespace, Namespace], vmnet: Vmnet, client: Client
) -> None:
    web, db = containers
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        lease = client(vm)
        lease.configure(vm)
        vm.run("ping", "-c1", "-W5", db.address)
    assert lease.address == IPv4Interface(f"{web.address}/32")
    assert lease.routes == (
        (IPv4Network(f"{ptp.GATEWAY}/32"), IPv4Address(0)),
        (IPv4Network(ptp.SUBNET), IPv4Address(ptp.GATEWAY)),
        (IPv4Network("0.0.0.0/0"), IPv4Address(ptp.GATEWAY)),
    )


def test_ipv6_neighbours_are_reached_through_the_router(
    containers: tuple[Namespace, Namespace], vmnet: Vmnet
) -> None:
    web, db = containers
    with vmnet.running(web), machine(web) as vm:
        assert routers(vm)
        on_link = {route["dst"] for route in vm.routes() if "gateway" not in route}
        assert on_link == {ptp.GATEWAY6, "fe80::/64"}
        vm.ip("address", "add", f"{dhclient6(vm).address}/128", "dev", "eth0", "nodad")
        vm.run("ping", "-6", "-c1", "-W5", str(db.nic().address6))
        db.run("ping", "-6", "-c1", "-W5", str(web.nic().address6))


def test_an_off_link_subnet_has_no_spare_address(
    containers: tuple[Namespace, Namespace], vmnet: Vmnet
) -> None:
    web, _ = containers
    plan = vmnet(web, "plan", "--json", VMNET_BRIDGE_ADDRESS="spare")
    (port,) = plan.json()["wiring"]["ports"]
    assert IPv4Interface(port["local"]["address"]).ip.is_link_local


@pytest.mark.parametrize("strategy", ["bridge", "redirect"])
def test_kept_ports_are_reached_through_the_router(
    containers: tuple[Namespace, Namespace], vmnet: Vmnet, strategy: str
) -> None:
    """The kernel lists the default route before the route that leads to its gateway."""
    web, db = containers
    with (
        vmnet.running(web, VMNET_BRIDGE=strategy, VMNET_KEEP_PORTS="8006"),
        web_server(web, "container", 8006),
    ):
        assert page(db, web.address, 8006) == "container"
        assert page(db, str(web.nic().address6), 8006) == "container"


def test_a_restart_in_the_same_namespace_converges(
    containers: tuple[Namespace, Namespace], vmnet: Vmnet
) -> None:
    """A pod's container restarts like this. Duplicate address detection is on."""
    web, db = containers
    before = web.dump()
    for _ in range(2):
        with vmnet.running(web) as process:
            process.signal(signal.SIGKILL)
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        udhcpc(vm).configure(vm)
        vm.run("ping", "-c1", "-W5", db.address)
    ended = vmnet(web, "run", VMNET_QEMU="/nonexistent")
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    assert snapshot.tentative(web.name) == []
    require_same(before, web.dump())


@pytest.mark.parametrize("renderer", ["netplan", "networkd"])
def test_systemd_networkd_reaches_neighbours_with_the_seeds_configuration(
    containers: tuple[Namespace, Namespace], vmnet: Vmnet, renderer: str
) -> None:
    """Both with netplan and with cloud-init's renderer for networkd; IPv4 and IPv6."""
    web, db = containers
    with (
        vmnet.running(web, VMNET_IPAM="cloudinit"),
        guest(web, "br0", web.mac) as vm,
        debian_host(vm) as host,
    ):
        plan = vmnet(web, "plan", "--json").json()
        identity = from_json(json.dumps(plan["identity"]), Identity)
        wiring = from_json(json.dumps(plan["wiring"]), Wiring)
        host.write(
            "/root/network", seed.files(identity, wiring, UserContent())["network-config"].decode()
        )
        host.run(*_CONVERT, renderer)
        if renderer == "netplan":
            host.run("netplan", "generate")
            # A VM's NIC has a permanent MAC, but a veth has none.
            host.run("sh", "-c", "sed -i s/^Permanent// /run/systemd/network/*.network")
        with host.daemon("sh", "-ec", NETWORKD) as networkd:

            def reached() -> bool:
                pings = (
                    vm.run("ping", "-c1", "-W1", str(address), check=False)
                    for address in (db.address, db.nic().address6)
                )
                return all(ping.returncode == 0 for ping in pings)

            until(reached, WAIT, "the neighbours to be reached", detail=networkd.output)
        on_link = [route["dst"] for route in vm.routes() if "gateway" not in route]
    assert set(on_link) == {ptp.GATEWAY, ptp.GATEWAY6, str(web.nic().address6), "fe80::/64"}
