"""The identity that the guest receives, with each way to connect it to the network.

The tests are the cells of the table in docs/networking.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface

import pytest
from attrs import frozen

from tests.lab.clients.dhcp4 import Lease, udhcpc
from tests.lab.clients.dhcp6 import dhclient6
from tests.lab.command import run
from tests.lab.net.frames import forged, heard, send, waiting
from tests.lab.net.lan import WORLD, WORLD6, Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import dnsmasq, web_server
from tests.lab.net.stream_guest import behind_stream
from tests.lab.net.tap_guest import behind_tap
from tests.lab.wait import WAIT, until
from tests.netns import test_passt
from tests.netns.conftest import Vmnet, hypervisor

WAYS = [("bridge", "veth"), ("redirect", "veth"), ("redirect", "macvlan"), ("passt", "veth")]


@frozen
class Guest:
    """A guest, with the lease that it requested.

    :param sees_frames: whether frames of the network reach the guest, and not only connections
    """

    vm: Namespace
    lease: Lease
    container: Namespace
    station: Namespace
    sees_frames: bool


@pytest.fixture(params=WAYS, ids="-".join)
def guest(request: pytest.FixtureRequest, network: Lan, vmnet: Vmnet) -> Iterator[Guest]:
    strategy, kind = request.param
    web = network.container(
        "web",
        ipv6=True,
        kind=kind,
        mtu=1400,
        hostname="web",
        resolv_conf=f"nameserver {WORLD}\nsearch corp.example\n",
    )
    station = network.station(ipv6=True)
    network.world()
    with _plugged(web, vmnet, strategy) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        vm.sysctl(net__ipv6__conf__eth0__accept_ra=2)
        yield Guest(vm, lease, web, station, strategy != "passt")


@contextmanager
def _plugged(container: Namespace, vmnet: Vmnet, strategy: str) -> Iterator[Namespace]:
    if strategy == "passt":
        socket = vmnet.run_dir / "passt" / "passt.sock"
        with test_passt.running(container, vmnet), behind_stream(container, socket) as vm:
            yield vm
    else:
        running = vmnet.running(container, VMNET_BRIDGE=strategy)
        with running, behind_tap(hypervisor(container), container.mac) as vm:
            yield vm


def test_the_lease_contains_the_containers_ipv4_network(guest: Guest, network: Lan) -> None:
    lease, web = guest.lease, guest.container
    assert lease.address == IPv4Interface(f"{web.address}/{web.nic().prefix}")
    assert lease.routers == (IPv4Address(network.gateway),)
    assert lease.mtu == 1400
    assert lease.dns == (IPv4Address(WORLD),)
    assert "corp.example" in lease.search
    assert guest.vm.run("ping", "-c1", "-W10", WORLD).returncode == 0


def test_the_guest_gets_the_containers_ipv6_address_and_a_router(guest: Guest) -> None:
    vm, address6 = guest.vm, str(guest.container.nic().address6)
    assert str(dhclient6(vm).address) == address6
    vm.ip("address", "add", f"{address6}/64", "dev", "eth0", "nodad")
    until(lambda: any(":" in route.get("gateway", "") for route in vm.routes()), WAIT, "a router")
    vm.run("ping", "-6", "-c1", "-W10", WORLD6)


def test_connections_reach_the_guest_at_the_containers_address(guest: Guest) -> None:
    with web_server(guest.vm, "the guest\n"):
        assert test_passt.fetch(guest.station, guest.container.address) == "the guest\n"


@pytest.mark.parametrize(("strategy", "kind"), WAYS)
def test_a_resolver_on_loopback_answers_the_guest(
    network: Lan, vmnet: Vmnet, strategy: str, kind: str
) -> None:
    """An older passt cannot forward to it, which the start names."""
    web = network.container("web", kind=kind, resolv_conf="nameserver 127.0.0.11\n")
    web.ip("link", "set", "lo", "up")
    network.world()
    bound = ("--listen-address=127.0.0.11", "--bind-interfaces", "--address=/db.test/192.0.2.7")
    with dnsmasq(web, *bound), _plugged(web, vmnet, strategy) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        if strategy == "passt" and not _forwards():
            planned = test_passt.unprivileged(web, vmnet, "plan", VMNET_BRIDGE="passt")
            assert "resolver: this passt cannot forward to it (set VMNET_DNS)" in planned.stdout
            assert lease.dns == ()
        else:
            (server,) = lease.dns
            asked = ("busybox", "nslookup", "-type=a", "db.test", str(server))
            assert "192.0.2.7" in vm.run(*asked).stdout


def _forwards() -> bool:
    helped = run("passt", "--help", check=False)
    return "--dns-host" in helped.stdout + helped.stderr


def test_the_network_sees_the_guests_mac(guest: Guest) -> None:
    """With passt too: the container's own NIC answers."""
    guest.station.run("ping", "-c1", "-W10", guest.container.address)
    (known,) = guest.station.ip("-j", "neighbour", "show", guest.container.address).json()
    assert known["lladdr"] == guest.container.mac


def test_frames_of_other_protocols_pass(guest: Guest, network: Lan) -> None:
    """Not with passt, where the guest's packets end at a process."""
    with heard(guest.vm) as card:
        send(guest.station, forged(guest.station.mac, b"of the network"))
        assert bool(_has_arrived(card, guest)) == guest.sees_frames


def _has_arrived(card: object, guest: Guest) -> list[bytes]:
    """Return the station's frames that have arrived with, or before, an answer that it gives."""
    guest.vm.run("ping", "-c1", "-W10", guest.station.address)
    frames = waiting(card)  # type: ignore[arg-type]
    return [frame for frame in frames if frame[12:14] == b"\x88\xb5"]
