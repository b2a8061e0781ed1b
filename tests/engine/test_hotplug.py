"""``docker network connect`` and ``disconnect`` on a running VM."""

from __future__ import annotations

from functools import partial

import pytest

from tests.engine.conftest import BOOT_SECONDS, Vms
from tests.lab.engines.docker import Container
from tests.lab.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.long]


def test_a_network_is_connected_and_disconnected(vms: Vms) -> None:
    with (
        vms.docker.network("vmt-start", "--subnet", "10.213.94.0/24") as first,
        vms.docker.network("vmt-added", "--subnet", "10.213.95.0/24") as later,
    ):
        vm = vms.start("--network", first)
        vms.await_log(vm, f"vmnet-guest: eth0 {vm.address(first)}/24")
        for number in range(2):  # the second time, the slot is free again
            vms.docker.docker("network", "connect", later, vm.id)
            address = vm.address(later)
            vms.await_log(vm, f"vmnet-guest: eth1 {address}/24")
            interfaces = vms.query(address, "identity")["interfaces"]
            macs = {nic["name"]: nic["mac"] for nic in interfaces}
            networks = vm.inspect()["NetworkSettings"]["Networks"]
            assert macs == {
                "eth0": networks[first]["MacAddress"],
                "eth1": networks[later]["MacAddress"],
            }
            vms.docker.docker("network", "disconnect", later, vm.id)
            left = partial(_has_left, vm, number + 1)
            until(left, BOOT_SECONDS, "the NIC to go", detail=vm.logs)
        assert vms.query(vm.address(first), "identity")["hostname"]
        vm.rm()


def _has_left(vm: Container, times: int) -> bool:
    """Return whether a NIC has gone. Docker gives the container's NIC another name each time."""
    return vm.logs().count(" was disconnected: the guest's NIC is removed") == times
