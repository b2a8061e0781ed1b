"""A real guest takes the container's place on the network."""

from __future__ import annotations

import signal

import pytest

from tests.lab.net.lan import WORLD, Lan, lan
from tests.lab.net.pinging import require_every_answer
from tests.lab.net.services import dns_server, dnsmasq, web_server
from tests.lab.wait import WAIT
from tests.vm.conftest import DemoVm, ask
from vmnet.supervision.exit_port import FORCED_STATUS

pytestmark = pytest.mark.vm


def test_the_guest_is_the_container(network: Lan, machine: DemoVm) -> None:
    web = network.container("web", mtu=1450, routes=("10.1.0.0/16 via 172.30.1.1",))
    station = network.station()
    with machine.booted(web) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24 via {network.gateway}")
        identity = ask(station, web.address, "identity")
        require_every_answer(station, web.address, count=3)
    assert identity["hostname"] == "web"
    (eth0,) = identity["interfaces"]
    assert (eth0["mac"], eth0["mtu"]) == (web.mac, 1450)
    assert eth0["ipv4"] == [f"{web.address}/24"]
    assert f"default via {network.gateway} dev eth0" in identity["routes"]
    assert f"10.1.0.0/16 via {network.gateway} dev eth0" in identity["routes"]
    assert identity["nameservers"] == [network.gateway]


@pytest.mark.long
def test_thirty_two_interfaces_in_order(network: Lan, machine: DemoVm) -> None:
    web = network.container("web")
    for number in range(1, 32):
        own = f"172.31.{number}.2/24"
        network.attach(web, f"eth{number}", address=own, gateway=False)
    with machine.booted(web) as guest:
        for number in range(1, 32):
            guest.says(f"vmnet-guest: eth{number} 172.31.{number}.2/24")
        found = ask(network.station(), web.address, "identity")["interfaces"]
    assert {interface["name"]: interface["mac"] for interface in found} == {
        name: nic.mac for name, nic in web.nics.items()
    }


@pytest.mark.parametrize(
    ("mtu", "address"),
    [(1450, "172.30.1.2"), (9000, "172.30.1.2"), (9000, "172.30.1.100")],
    ids=["1450", "9000", "9000-by-virtio-alone"],
)
def test_full_size_packets_pass(mtu: int, address: str, machine: DemoVm) -> None:
    """DHCP option 26 and virtio announce the MTU; in the last case, only virtio does."""
    given = ("--dhcp-range=172.30.1.100,172.30.1.100,1h", "--interface=docker0", "--no-ping")
    with lan(mtu=mtu) as network, dnsmasq(network.host, *given, port=0):
        web, station = network.container("web"), network.station()
        outside = {"NO_DHCP": "true"} if address.endswith("100") else {}
        with machine.booted(web, **outside) as guest:
            guest.says(f"vmnet-guest: eth0 {address}/24")
            (eth0,) = ask(station, address, "identity")["interfaces"]
            assert eth0["mtu"] == mtu
            largest = ("-M", "do", "-s", str(mtu - 28))
            require_every_answer(station, address, *largest, count=3)


def test_a_guest_that_does_not_react_is_forced(network: Lan, machine: DemoVm) -> None:
    web = network.container("web")
    with machine.booted(web, "-S", VMNET_STOP_TIMEOUT="2") as guest:  # -S: the CPU never starts
        guest.process.signal(signal.SIGTERM)
        assert guest.process.wait(WAIT) == FORCED_STATUS
        assert "did not power off within 2 s: forcing QEMU to quit" in guest.output()


def test_with_no_dhcp_another_system_gives_the_address(network: Lan, machine: DemoVm) -> None:
    web = network.container("web")
    station = network.station()
    given = ("--dhcp-range=172.30.1.100,172.30.1.100,1h", f"--interface={network.bridge}")
    with (
        dnsmasq(network.host, *given, port=0) as server,
        machine.booted(web, NO_DHCP="true") as guest,
    ):
        guest.says("vmnet-guest: eth0 172.30.1.100/24")
        assert web.mac in server.output()
        identity = ask(station, "172.30.1.100", "identity")
    assert identity["interfaces"][0]["mac"] == web.mac


def test_a_foreign_dhcp_server_does_not_reach_the_guest(network: Lan, machine: DemoVm) -> None:
    web = network.container("web")
    given = ("--dhcp-range=172.30.1.100,172.30.1.110,1h", f"--interface={network.bridge}")
    # Without --no-ping, the server would first check for three seconds that an address is free.
    offers = dnsmasq(network.host, *given, "--no-ping", port=0)
    with offers as server, machine.booted(web) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        assert "DHCPDISCOVER" not in server.output()
        assert web.mac not in server.output()


def test_names_resolve_as_they_did_in_the_container(network: Lan, machine: DemoVm) -> None:
    """Docker's resolver knows the other containers, and forwards to a server past the gateway."""
    web = network.container(
        "web",
        resolv_conf="nameserver 127.0.0.11\nsearch internal.test\noptions ndots:0\n",
        hosts="127.0.0.1 localhost\n172.30.1.2 web\n172.30.1.55 linked\n",
    )
    station, world = network.station(), network.world()
    resolver = (
        "--listen-address=127.0.0.11",
        "--bind-interfaces",
        "--address=/db.internal.test/172.30.1.77",
        f"--server=/example.test/{WORLD}",
    )
    with (
        dns_server(world, {"www.example.test": WORLD}),
        web_server(world, "beyond\n"),
        dnsmasq(web, *resolver),
        machine.booted(web) as guest,
    ):
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        answers = {
            name: ask(station, web.address, f"lookup?name={name}")["addresses"]
            for name in ("db", "linked", "www.example.test")
        }
    assert answers == {
        "db": ["172.30.1.77"],
        "linked": ["172.30.1.55"],
        "www.example.test": [WORLD],
    }


def test_every_interface_is_handed_over_in_order(network: Lan, machine: DemoVm) -> None:
    with lan(2, host=network.host, mtu=9000) as second:
        web = network.container("web", gateway=False)
        second.attach(web, "eth1")
        station = second.station()
        with machine.booted(web) as guest:
            guest.says("vmnet-guest: eth0 172.30.1.2/24")
            guest.says("vmnet-guest: eth1 172.30.2.2/24 via 172.30.2.1")
            identity = ask(station, "172.30.2.2", "identity")
    found = [
        (interface["name"], interface["mac"], interface["mtu"], interface["ipv4"])
        for interface in identity["interfaces"]
    ]
    assert found == [
        ("eth0", web.nic("eth0").mac, 1500, ["172.30.1.2/24"]),
        ("eth1", web.nic("eth1").mac, 9000, ["172.30.2.2/24"]),
    ]
    defaults = [route for route in identity["routes"] if route.startswith("default")]
    assert len(defaults) == 1
    assert "via 172.30.2.1 dev eth1" in defaults[0]
