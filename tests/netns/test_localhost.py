"""Programs in the container that connect to 127.0.0.1, as `kubectl port-forward` does."""

from __future__ import annotations

import sys

from tests.lab.net.lan import Lan
from tests.lab.net.services import web_server
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT
from tests.netns.conftest import Vmnet
from tests.netns.test_kept_ports import FETCH, GUESTS, KEPT, TRANSFER, machine, page, tables

LOOPBACK = "127.0.0.1"


def test_localhost_is_the_guest_where_nothing_of_the_container_listens(
    network: Lan, vmnet: Vmnet
) -> None:
    web = network.container("web")
    web.sysctl(net__ipv4__conf__all__rp_filter=1)
    with vmnet.running(web, VMNET_LOCALHOST="on", VMNET_KEEP_PORTS=str(KEPT)), machine(web):
        assert page(web, LOOPBACK, GUESTS) == "guest"
        assert page(web, LOOPBACK, KEPT) == ""  # nothing listens in the container
        assert page(web, LOOPBACK, 9000) == ""  # nothing listens anywhere
        with web_server(web, "container", KEPT), web_server(web, "container", 9000):
            assert page(web, LOOPBACK, KEPT) == "container"
            assert page(web, LOOPBACK, 9000) == "container"
        with web_server(web, "container", GUESTS):  # it has started after vmnet
            assert page(web, LOOPBACK, GUESTS) == "container"
        assert page(web, LOOPBACK, GUESTS) == "guest"
        assert page(web, "127.0.0.11", GUESTS) == ""


def test_large_transfers_with_localhost(network: Lan, vmnet: Vmnet) -> None:
    """The loopback device's packets are larger than those of the guest's NIC."""
    web = network.container("web")
    with (
        vmnet.running(web, VMNET_LOCALHOST="on"),
        machine(web) as vm,
        vm.popen(sys.executable, "-c", TRANSFER, "7000"),
    ):
        done = web.run(sys.executable, "-c", FETCH, LOOPBACK, "7000", timeout=WAIT)
        assert done.stdout == f"{8 << 20}\n"


def test_a_port_on_which_nothing_listens_is_refused_at_once(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with vmnet.running(web, VMNET_LOCALHOST="on"), machine(web):
        asked = web.run("curl", "-sS", "-m", "20", f"http://{LOOPBACK}:9999/", check=False)
    assert asked.returncode == 7, asked.stderr  # connection refused


def test_the_guest_reaches_nothing_by_way_of_localhost(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with (
        vmnet.running(web, VMNET_LOCALHOST="on"),
        machine(web) as vm,
        web_server(web, "container", 9000),
    ):
        assert page(web, LOOPBACK, 9000) == "container"
        own = [address["local"] for address in web.addresses("br0")]
        assert len(own) == 2
        for address in own:
            assert page(vm, address, 9000) == ""
        # A guest that routes loopback addresses to its NIC.
        vm.sysctl(net__ipv4__conf__all__route_localnet=1)
        vm.ip("route", "add", "127.0.0.2/32", "via", own[0], "dev", "eth0", "onlink", "table", "5")
        vm.ip("rule", "add", "to", "127.0.0.2", "lookup", "5", "priority", "0")
        vm.ip("rule", "delete", "lookup", "local")
        assert page(vm, "127.0.0.2", 9000) == ""


def test_off_by_default_and_on_in_pods(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", hosts="# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    before = web.dump()
    with vmnet.running(web):
        assert tables(web) == ""
    recovered = vmnet(web, "run", VMNET_QEMU="/nonexistent")
    assert recovered.returncode
    pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    with vmnet.running(web, **pod), machine(web):
        assert page(web, LOOPBACK, GUESTS) == "guest"
    recovered = vmnet(web, "run", VMNET_QEMU="/nonexistent")
    assert recovered.returncode
    require_same(before, web.dump())
    assert tables(web) == ""


def test_a_guest_whose_address_is_unknown(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    refused = vmnet(web, "run", VMNET_LOCALHOST="on", NO_DHCP="true")
    assert refused.returncode == 10
    assert "VMNET_LOCALHOST=on needs an IPv4 address of the guest" in refused.stderr
