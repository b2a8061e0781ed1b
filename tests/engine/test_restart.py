"""A VM container keeps its network identity however it ends and starts again."""

from __future__ import annotations

import pytest

from tests.engine.conftest import Vms
from tests.lab.engines.docker import Container

pytestmark = pytest.mark.engine


def require_identity(vms: Vms, vm: Container) -> None:
    """Fail unless the guest answers with the MAC and address of the container."""
    network = vm.inspect()["NetworkSettings"]
    (eth0,) = vms.query(network["IPAddress"], "identity")["interfaces"]
    assert eth0["mac"] == network["MacAddress"]
    assert eth0["ipv4"] == [f"{network['IPAddress']}/{network['IPPrefixLen']}"]


def test_a_crash_a_pause_and_a_restart(vms: Vms) -> None:
    """The container's file system contains the run directory, so a start finds the previous one."""
    vm = vms.start()
    require_identity(vms, vm)

    vm.kill()
    assert vm.wait() == 128 + 9
    vms.docker.docker("start", vm.id)
    require_identity(vms, vm)

    vms.docker.docker("pause", vm.id)
    vms.docker.docker("unpause", vm.id)
    require_identity(vms, vm)

    vm.restart()
    require_identity(vms, vm)
    assert "vmnet-guest: power button, shutting down" in vm.logs()
    assert "restoring the network" not in vm.logs()


def test_a_namespace_that_outlives_the_container(vms: Vms) -> None:
    """In a Kubernetes pod, another container has the network. A volume is the run directory."""
    holder = vms.docker.start(vms.image, "600", options=["--entrypoint", "sleep"])
    pod = ("--network", f"container:{holder.id}", "-v", "/run/vmnet")
    vm = vms.start(*pod)
    network = holder.inspect()["NetworkSettings"]

    def require_mac_of_pod() -> None:
        (eth0,) = vms.query(network["IPAddress"], "identity")["interfaces"]
        assert eth0["mac"] == network["MacAddress"]

    require_mac_of_pod()
    vm.kill()
    vm.wait()
    vms.docker.docker("start", vm.id)
    vms.await_log(vm, "restoring the network that a start left in this namespace")
    require_mac_of_pod()
    vm.rm()
    holder.rm()
