"""A running VM container, looked into with `docker exec`, and looked at by Docker itself."""

from __future__ import annotations

import json

import pytest

from tests.engine.conftest import BOOT_SECONDS, Vms
from tests.lab.console import on_pty
from tests.lab.engine import Container
from tests.lab.wait import until

pytestmark = pytest.mark.engine

# Docker's own defaults would have a test wait for minutes.
QUICKLY = ("--health-interval", "2s", "--health-timeout", "20s", "--health-retries", "2")


def health(vm: Container) -> str:
    return str(vm.inspect()["State"]["Health"]["Status"])


def test_docker_knows_a_healthy_vm_from_one_that_is_not(vms: Vms) -> None:
    vm = vms.start("--hostname", "web", *QUICKLY)

    def becomes(wanted: str) -> None:
        detail = lambda: json.dumps(vm.inspect()["State"]["Health"], indent=1)  # noqa: E731
        until(lambda: health(vm) == wanted, BOOT_SECONDS, wanted, interval=0.5, detail=detail)

    becomes("healthy")
    vms.says(vm, f"vmnet-guest: eth0 {vm.address()}/")

    status = vm.exec("vmnet", "status", "--json").json()
    assert status["qemu"]["state"] == "running"
    assert status["process"]["pid"] == 1
    assert status["guest"] == [
        {"nic": "eth0", "answering": [vm.address()], "silent": [], "unknown": ""}
    ]
    (lease,) = status["handovers"]
    assert (lease["done"], lease["detail"]) == (True, f"DHCP: {vm.address()} is leased")
    shown = vm.exec("vmnet", "status").stdout
    assert f"the guest answers for {vm.address()}" in shown
    assert "healthy: " in vm.exec("vmnet", "health", "--strict").stdout

    (dnsmasq,) = (one for one in status["helpers"] if one["name"] == "dnsmasq")
    vm.exec("sh", "-c", f"kill -STOP {dnsmasq['pid']}")
    becomes("unhealthy")
    (*_, last) = vm.inspect()["State"]["Health"]["Log"]
    assert last["Output"].startswith("unhealthy: dnsmasq is stopped")
    vm.exec("sh", "-c", f"kill -9 {dnsmasq['pid']}")
    becomes("healthy")
    assert "vmnet: error: dnsmasq: ended before the VM" in vm.logs()


def test_the_console_and_a_stop(vms: Vms) -> None:
    vm = vms.start("-e", "VMNET_LOG=json")
    vms.says(vm, f"vmnet-guest: eth0 {vm.address()}/")
    with on_pty("docker", "exec", "-it", vm.id, "vmnet", "console", env=vms.docker.env) as console:
        console.expect("Ctrl-] leaves")
        console.send("\r")
        console.expect("vmnet-guest# ")
        console.send("echo $((6 * 7)) is seen\r")
        console.expect("^42 is seen")
        assert "42 is seen" in vm.logs(), "docker attach and docker logs see it too"

        second = vm.exec("vmnet", "console", check=False)
        assert second.returncode == 22
        assert "(vmnet) is already attached" in json.loads(second.stderr)["message"]

        console.send("\x1d")
        console.expect("detached: the VM keeps running")
    piped = vm.exec(
        *("timeout", "10", "vmnet", "console"), input="echo $((7 * 6)) is piped\n", check=False
    )
    assert "42 is piped" in piped.stdout

    stopped = vm.exec("vmnet", "stop", "--timeout", "60", check=False, timeout=90)
    assert (stopped.returncode, vm.wait()) == (0, 0), stopped.stderr
    assert stopped.stdout.startswith("the guest powered off after ")
    own = [line for line in vm.logs().splitlines() if line.lstrip("\r").startswith(("{", "vmnet:"))]
    assert {"time", "level", "message"} <= set.union(*(set(json.loads(one)) for one in own))
    vms.docker.docker("start", vm.id)
    assert vm.exec("vmnet", "health", check=False).stdout.startswith(("starting", "healthy"))
