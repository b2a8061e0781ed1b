"""The leases that real DHCP clients get in place of the VM's NIC."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from tests.lab.clients.dhcp4 import CLIENTS, Client, Lease, udhcpc
from tests.lab.net.bridge_guest import guest
from tests.lab.net.lan import Lan, lan
from tests.lab.net.services import dnsmasq
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet
from tests.netns.test_names import resolve

FOR_EVER = 2**32 - 1


@pytest.mark.parametrize("client", CLIENTS)
def test_the_client_gets_the_containers_address(network: Lan, vmnet: Vmnet, client: Client) -> None:
    web = network.container("web", mtu=1450)
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        lease = client(vm)
    assert lease.address == IPv4Interface(f"{web.address}/24")
    assert lease.routers == (IPv4Address(network.gateway),)
    assert lease.dns == (IPv4Address(network.gateway),)
    assert (lease.hostname, lease.mtu, lease.seconds) == ("web", 1450, FOR_EVER)


def test_the_mtu_of_the_default_route_reaches_the_guest(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", gateway=False, routes=("default via 172.30.1.1 mtu 1450",))
    assert f"{web.mac} mtu 1450" in vmnet(web, "plan").stdout
    with vmnet.running(web) as process, guest(web, "br0", web.mac) as vm:
        lease = udhcpc(vm)
        assert "MTU" not in process.output()
    assert (lease.mtu, lease.routers) == (1450, (IPv4Address(network.gateway),))


@pytest.mark.parametrize("given", ["localhost", ""], ids=["sends-its-fqdn", "sends-none"])
def test_a_host_name_with_capitals_arrives_as_given(network: Lan, vmnet: Vmnet, given: str) -> None:
    """dnsmasq would answer a client's FQDN (option 81) with the name in lower case."""
    web = network.container("web", hostname="WEB-01", resolv_conf="nameserver 127.0.0.11\n")
    sent = ("-O", "81", "-F", given) if given else ()
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        lease = udhcpc(vm, more=sent)
        lease.configure(vm)
        found = resolve(vm, "web-01", lease.dns[0])
    assert (lease.hostname, lease.environment.get("opt81")) == ("WEB-01", None)
    assert found == {str(web.address)}


@pytest.mark.parametrize("client", CLIENTS)
def test_static_and_on_link_routes_arrive_with_the_default_last(
    network: Lan, vmnet: Vmnet, client: Client
) -> None:
    web = network.container(
        "web",
        routes=(
            "10.1.0.0/16 via 172.30.1.1",
            "169.254.1.1 dev eth0 scope link",
            "10.2.0.0/16 via 169.254.1.1 dev eth0 onlink",
        ),
    )
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        lease = client(vm)
    assert set(lease.routes) == {
        (IPv4Network("169.254.1.1/32"), IPv4Address(0)),
        (IPv4Network("10.1.0.0/16"), IPv4Address("172.30.1.1")),
        (IPv4Network("10.2.0.0/16"), IPv4Address("169.254.1.1")),
        (IPv4Network("0.0.0.0/0"), IPv4Address(network.gateway)),
    }
    assert lease.routes[-1][0] == IPv4Network("0.0.0.0/0")


@pytest.mark.parametrize("client", CLIENTS)
def test_the_best_gateway_is_leased_and_the_other_reported(
    network: Lan, vmnet: Vmnet, client: Client
) -> None:
    web = network.container("web", gateway=False)
    for last, metric in ((9, 200), (1, 100)):
        via = ("via", f"172.30.1.{last}", "metric", str(metric))
        web.ip("route", "add", "default", *via)
    with vmnet.running(web) as process, guest(web, "br0", web.mac) as vm:
        lease = client(vm)
        said = process.output()
    assert lease.routers == (IPv4Address("172.30.1.1"),)
    assert "less preferred routes of eth0: 0.0.0.0/0 via 172.30.1.9" in said
    assert "route metrics of eth0" in said


def test_a_host_address_with_an_on_link_gateway(network: Lan, vmnet: Vmnet) -> None:
    """Calico configures a pod like this."""
    web = network.container(
        "web", address="172.30.1.9/32", gateway=False, routes=("169.254.1.1 dev eth0 scope link",)
    )
    web.ip("route", "add", "default", "via", "169.254.1.1", "dev", "eth0")
    network.host.ip("address", "add", "169.254.1.1/32", "dev", network.bridge)
    network.host.ip("route", "add", "172.30.1.9/32", "dev", network.bridge)
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        vm.run("ping", "-c1", "-W5", network.gateway)
    assert lease.address == IPv4Interface("172.30.1.9/32")


def test_a_gateway_with_a_permanent_mac_that_answers_no_arp(network: Lan, vmnet: Vmnet) -> None:
    """AWS's CNI plugin configures a pod like this."""
    web = network.container(
        "web", address="172.30.1.9/32", gateway=False, routes=("169.254.1.1 dev eth0 scope link",)
    )
    web.ip("route", "add", "default", "via", "169.254.1.1", "dev", "eth0")
    router = next(link for link in network.host.links() if link["ifname"] == network.bridge)
    entry = ("169.254.1.1", "dev", "eth0", "lladdr", router["address"], "nud", "permanent")
    web.ip("neighbour", "add", *entry)
    network.host.ip("route", "add", "172.30.1.9/32", "dev", network.bridge)
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        vm.run("ping", "-c1", "-W5", network.gateway)
        assert router["address"] in vm.ip("neighbour", "show", "169.254.1.1").stdout
    assert lease.address == IPv4Interface("172.30.1.9/32")


def test_uncaptured_routing_is_reported(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    web.ip("route", "add", "10.9.0.0/16", "via", network.gateway, "table", "100")
    web.ip("rule", "add", "from", "172.30.1.2", "table", "100")
    web.ip("route", "add", "blackhole", "10.8.0.0/16")
    web.ip("-6", "route", "add", "unreachable", "fd00:8::/64")
    plan = vmnet(web, "plan")
    assert plan.returncode == 0, plan.stderr
    assert plan.stderr.count("not carried") == 3
    assert "policy routing (routing tables other than main: 100)" in plan.stderr
    assert "the blackhole route to 10.8.0.0/16" in plan.stderr
    assert "the unreachable route to fd00:8::/64" in plan.stderr


def test_another_mac_is_not_answered(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with vmnet.running(web), guest(web, "br0", "02:42:00:00:00:99") as vm:
        # -n: udhcpc exits if its two requests get no answer.
        asked = vm.run(
            "udhcpc", "-n", "-q", "-t2", "-T1", "-i", "eth0", "-s", "/bin/true", check=False
        )
    assert asked.returncode == 1
    assert "no lease" in asked.stderr + asked.stdout


def test_each_interface_hands_over_its_own_address(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host, mtu=9000) as second:
        web = network.container("web", gateway=False)
        second.attach(web, "eth1")
        with vmnet.running(web):
            with guest(web, "br0", web.nic("eth0").mac) as vm:
                first_lease = udhcpc(vm)
            with guest(web, "br1", web.nic("eth1").mac) as vm:
                second_lease = udhcpc(vm)
    assert (str(first_lease.address.ip), first_lease.routers) == (web.nic("eth0").address, ())
    assert str(second_lease.address.ip) == web.nic("eth1").address
    assert second_lease.routers == (IPv4Address(second.gateway),)
    assert (first_lease.mtu, second_lease.mtu) == (1500, 9000)


def test_only_the_selected_interfaces_are_handed_over(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web", gateway=False)
        second.attach(web, "eth1")
        station = network.station()
        with vmnet.running(web, VMNET_INTERFACES="eth1"):
            with guest(web, "br0", web.nic("eth1").mac) as vm:
                lease = udhcpc(vm)
            station.run("ping", "-c1", "-W5", web.nic("eth0").address)  # the container's still
            kept = [
                address["local"] for address in web.addresses("eth0") if address["family"] == "inet"
            ]
    assert str(lease.address.ip) == web.nic("eth1").address
    assert kept == [web.nic("eth0").address]


def test_an_interface_without_an_address_is_plain_layer_2(network: Lan, vmnet: Vmnet) -> None:
    """An outside DHCP server answers on it; vmnet's dnsmasq answers only on the other interface."""
    with lan(2, host=network.host) as second:
        web = network.container("web")
        bare = second.attach(web, "eth1", gateway=False)
        web.ip("address", "flush", "dev", "eth1")
        given = ("--dhcp-range=172.30.2.100,172.30.2.100,1h", f"--interface={second.bridge}")
        with dnsmasq(second.host, *given, "--no-ping", port=0), vmnet.running(web):
            with guest(web, "br0", web.mac) as vm:
                assert str(udhcpc(vm).address.ip) == web.address
            with guest(web, "br1", bare.mac) as vm:
                lease = udhcpc(vm)
                lease.configure(vm)
                vm.run("ping", "-c1", "-W5", second.gateway)
    assert (str(lease.address.ip), lease.hostname) == ("172.30.2.100", None)


def test_of_a_thousand_routes_as_many_as_fit_are_leased(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    routes = [f"10.{n // 256}.{n % 256}.0/24" for n in range(1000)]
    batch = "".join(f"route add {route} via {network.gateway}\n" for route in routes)
    web.run("ip", "-batch", "-", input=batch)
    with vmnet.running(web) as process, guest(web, "br0", web.mac) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        said = process.output()
    leased = [str(destination) for destination, _ in lease.routes]
    assert leased[-1] == "0.0.0.0/0"
    assert leased[:-1] == routes[: len(leased) - 1]
    assert len(leased) > 30
    left = f"{len(routes) + 1 - len(leased)} of 1001 routes of eth0: option 121 holds 255 bytes"
    assert f"not carried by dnsmasq: {left} (use VMNET_IPAM=cloudinit)" in said


def test_a_resolver_on_loopback_is_forwarded(network: Lan, vmnet: Vmnet) -> None:
    """A DNS server on loopback in the container's namespace, like Docker's 127.0.0.11."""
    web = network.container("web", resolv_conf="nameserver 127.0.0.11\nsearch example.test\n")
    with (
        dnsmasq(
            web,
            "--address=/db.example.test/172.30.1.77",
            "--listen-address=127.0.0.11",
            "--bind-interfaces",
        ),
        vmnet.running(web),
        guest(web, "br0", web.mac) as vm,
    ):
        lease = udhcpc(vm)
        lease.configure(vm)
        (server,) = lease.dns
        answer = vm.run("busybox", "nslookup", "-type=a", "db.example.test", str(server))
    assert "172.30.1.77" in answer.stdout
    assert server.is_link_local
    assert lease.search == ("example.test",)


def test_a_client_that_requests_no_routes_gets_a_nameserver_of_its_subnet(
    network: Lan, vmnet: Vmnet
) -> None:
    """Such clients are busybox's default script, the kernel's ip=dhcp, and firmware."""
    web = network.container("web", resolv_conf="nameserver 127.0.0.11\n")
    subnet = IPv4Network("172.30.1.0/24")
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:

        def lease() -> Lease | None:
            """Return a lease after the responder has named its address to dnsmasq."""
            found = udhcpc(vm, asked=())
            return found if all(server in subnet for server in found.dns) else None

        assert until(lease, WAIT, "a nameserver of the subnet").routes == ()


def test_links_resolve(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", hosts="127.0.0.1\tlocalhost\n172.30.1.66\tdatabase db\n")
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        answer = vm.run("busybox", "nslookup", "-type=a", "db", str(lease.dns[0]))
    assert "172.30.1.66" in answer.stdout
