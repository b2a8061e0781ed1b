"""Programs in the container that connect to 127.0.0.1, as `kubectl port-forward` does."""

from __future__ import annotations

import sys

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import web_server
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT
from tests.netns.conftest import Vmnet
from tests.netns.test_kept_ports import (
    ASK,
    ECHO,
    FETCH,
    GUESTS,
    KEPT,
    TRANSFER,
    filtering,
    is_silent,
    machine,
    page,
    tables,
)

LOOPBACK, LOOPBACK6 = "127.0.0.1", "::1"
ASK_ONCE = """
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(0.5)
client.connect(socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_DGRAM)[0][4])
client.send(b"9")
try:
    client.recv(100)
    print("an answer")
except TimeoutError:
    print("silence")
"""
BOTH = (LOOPBACK, LOOPBACK6)


def test_localhost_is_the_guest_where_nothing_of_the_container_listens(
    vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    web.sysctl(net__ipv4__conf__all__rp_filter=1)
    running = vmnet.running(web, VMNET_LOCALHOST="on", VMNET_KEEP_PORTS=str(KEPT), **chosen)
    with running, machine(web):
        for own in BOTH:
            assert page(web, own, GUESTS) == "guest"
            assert is_silent(web, own, KEPT)  # nothing listens in the container
            assert is_silent(web, own, 9000)  # nothing listens anywhere
        with web_server(web, "container", KEPT), web_server(web, "container", 9000):
            for own in BOTH:
                assert page(web, own, KEPT) == "container"
                assert page(web, own, 9000) == "container"
        with web_server(web, "container", GUESTS):  # it has started after vmnet
            for own in BOTH:
                assert page(web, own, GUESTS) == "container"
        for own in BOTH:
            assert page(web, own, GUESTS) == "guest"
        assert is_silent(web, "127.0.0.11", GUESTS)


def test_large_transfers_with_localhost(
    vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    """The loopback device's packets are larger than those of the guest's NIC."""
    with (
        vmnet.running(web, VMNET_LOCALHOST="on", **chosen),
        machine(web) as vm,
        vm.popen(sys.executable, "-c", TRANSFER, "7000"),
    ):
        for own in BOTH:
            done = web.run(sys.executable, "-c", FETCH, own, "7000", timeout=WAIT)
            assert done.stdout == f"{8 << 20}\n", own


def test_datagrams_to_localhost(vmnet: Vmnet, web: Namespace, chosen: dict[str, str]) -> None:
    """The guest's datagrams reach the container only as answers."""
    running = vmnet.running(web, VMNET_LOCALHOST="on", VMNET_KEEP_PORTS="163/udp", **chosen)
    with running, machine(web) as vm:

        def ask(where: Namespace, address: str, port: str) -> str:
            asked = (sys.executable, "-c", ASK, address, port, "1000", "4")
            return where.run(*asked, timeout=WAIT).stdout

        with vm.popen(sys.executable, "-c", ECHO, "162"):
            for own in BOTH:
                assert ask(web, own, "162") == "1000\n"
        device = "br0" if web.link("br0") else "tap0"
        with web.popen(sys.executable, "-c", ECHO, "162"):
            for own in BOTH:
                assert ask(web, own, "162") == "1000\n"
            for address in (each["local"] for each in web.addresses(device)):
                to = f"{address}%eth0" if ":" in address else address
                asked = vm.run(sys.executable, "-c", ASK_ONCE, to, "162", timeout=WAIT).stdout
                assert asked == "silence\n", address


def test_a_port_on_which_nothing_listens_is_refused_at_once(
    vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    with vmnet.running(web, VMNET_LOCALHOST="on", **chosen), machine(web):
        for own in (LOOPBACK, f"[{LOOPBACK6}]"):
            ask = ("curl", "-sS", "-g", "-m", "20", f"http://{own}:9999/")
            asked = web.run(*ask, check=False)
            assert asked.returncode == 7, asked.stderr  # connection refused


def test_the_guest_reaches_nothing_by_way_of_localhost(
    vmnet: Vmnet, web: Namespace, chosen: dict[str, str]
) -> None:
    with (
        vmnet.running(web, VMNET_LOCALHOST="on", **chosen),
        machine(web) as vm,
        web_server(web, "container", 9000),
    ):
        assert page(web, LOOPBACK, 9000) == "container"
        device = "br0" if web.link("br0") else "tap0"
        own = [address["local"] for address in web.addresses(device)]
        assert len(own) == 3
        for address in own:
            assert is_silent(vm, f"{address}%25eth0" if ":" in address else address, 9000)
        # A guest that routes loopback addresses to its NIC.
        vm.sysctl(net__ipv4__conf__all__route_localnet=1)
        via = ("via", own[0], "dev", "eth0", "onlink", "table", "5")
        vm.ip("route", "add", "127.0.0.2/32", *via)
        vm.ip("rule", "add", "to", "127.0.0.2", "lookup", "5", "priority", "0")
        vm.ip("rule", "delete", "lookup", "local")
        assert is_silent(vm, "127.0.0.2", 9000)


def test_the_network_is_put_back(vmnet: Vmnet, web: Namespace, chosen: dict[str, str]) -> None:
    before = web.dump()
    with vmnet.running(web, VMNET_LOCALHOST="on", **chosen):
        assert "vmnet_localhost" in tables(web)
    recovered = vmnet(web, "run", VMNET_QEMU="/nonexistent")
    assert recovered.returncode
    require_same(before, web.dump())
    assert tables(web) == ""


def test_off_by_default_and_on_in_pods(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", hosts="# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    before = web.dump()
    with vmnet.running(web):
        assert filtering(web) == ""
    recovered = vmnet(web, "run", VMNET_QEMU="/nonexistent")
    assert recovered.returncode
    pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    with vmnet.running(web, **pod), machine(web):
        assert page(web, LOOPBACK, GUESTS) == "guest"
    recovered = vmnet(web, "run", VMNET_QEMU="/nonexistent")
    assert recovered.returncode
    require_same(before, web.dump())
    assert tables(web) == ""


def test_a_container_whose_kernel_lacks_ipv6_on_new_interfaces(network: Lan, vmnet: Vmnet) -> None:
    """Docker disables it."""
    web = network.container("web", ipv6=True)
    plan = vmnet(web, "plan", VMNET_LOCALHOST="on")
    assert "127.0.0.1 in the container: the guest" in plan.stdout
    assert "::1 in the container does not lead to the guest, because IPv6 is" in plan.stderr


def test_a_guest_whose_address_is_unknown(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    refused = vmnet(web, "run", VMNET_LOCALHOST="on", NO_DHCP="true")
    assert refused.returncode == 10
    assert "VMNET_LOCALHOST=on needs an address of the guest" in refused.stderr


@pytest.mark.parametrize("ipv6", [False, True])
def test_a_network_without_a_gateway(network: Lan, vmnet: Vmnet, ipv6: bool) -> None:
    """The guest has no route for its answers over IPv4; those over IPv6 are on the link."""
    web = network.container("web", ipv6=ipv6, gateway=False)
    web.sysctl(net__ipv6__conf__default__disable_ipv6=0)
    planned = vmnet(web, "plan", VMNET_LOCALHOST="on").stderr
    reason = "because it gets no IPv4 default route for its answers"
    assert f"127.0.0.1 in the container does not lead to the guest, {reason}" in planned
    assert "127.0.0.1 in the container: the guest" not in planned
    assert ("::1 in the container: the guest" in planned) == ipv6
