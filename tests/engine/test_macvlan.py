"""A guest on Docker's macvlan network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.engine.conftest import FETCH, NET_ADMIN, Vms
from tests.engine.test_networks import lookup
from tests.engine.test_running import await_output
from tests.lab.wait import WAIT

pytestmark = [pytest.mark.engine, pytest.mark.long]

_PARENT, _GATEWAY = "vmtparent", "vmtgateway"


@contextmanager
def macvlan(vms: Vms, name: str) -> Iterator[str]:
    """A macvlan network on a cable, whose other end is the network's gateway."""
    vms.docker.on_host("ip", "link", "add", _PARENT, "type", "veth", "peer", "name", _GATEWAY)
    try:
        for link in (_PARENT, _GATEWAY):
            vms.docker.on_host("ip", "link", "set", link, "up")
        vms.docker.on_host("ip", "address", "add", "10.213.90.1/24", "dev", _GATEWAY)
        address = ("--subnet", "10.213.90.0/24", "--gateway", "10.213.90.1")
        with vms.docker.network(name, "-d", "macvlan", "-o", f"parent={_PARENT}", *address):
            yield name
    finally:
        vms.docker.on_host("ip", "link", "delete", _PARENT, check=False)


def test_a_guest_has_its_address_and_its_names(vms: Vms) -> None:
    """The engine's resolver asks the nameserver on the network from the container's namespace."""
    with macvlan(vms, "vmt-macvlan") as network:
        outside = vms.docker.start(
            vms.image,
            *("--no-daemon", "--log-facility=-", "--address=/www.outside.test/192.0.2.80"),
            options=["--network", network, *NET_ADMIN, "--entrypoint", "dnsmasq"],
        )
        server = outside.address(network)
        vm = vms.start("--network", network, "--dns", server)
        address = vm.address(network)
        logs = vms.await_log(vm, f"vmnet-guest: eth0 {address}/24 via 10.213.90.1")
        assert "eth0 is a macvlan interface: VMNET_BRIDGE=redirect applies to it" in logs
        (nic,) = vms.query(address, "identity")["interfaces"]
        assert nic["mac"] == vm.inspect()["NetworkSettings"]["Networks"][network]["MacAddress"]
        vms.docker.on_host("ping", "-c1", f"-w{WAIT}", "-M", "do", "-s", "1472", address)
        fetch = ("python3", "-c", FETCH, f"http://{address}/")
        assert address in outside.exec(*fetch).stdout  # a neighbour on the same parent
        named = ("--network", network, "--name", "vmt-neighbour", "--entrypoint", "sleep")
        neighbour = vms.docker.start(vms.image, "600", options=named)
        assert lookup(vms, vm, network, "vmt-neighbour") == [neighbour.address(network)]
        assert lookup(vms, vm, network, "www.outside.test") == ["192.0.2.80"]
        await_output(vm, lambda output: "answers for" in output, "status")
        vm.stop()
        assert vm.wait() == 0, vm.logs()
        for container in (vm, outside, neighbour):
            container.rm()
