"""Inspect a running VM container with `docker exec`, and by Docker's health check."""

from __future__ import annotations

import json

import pytest

from tests.engine.conftest import BOOT_SECONDS, Vms
from tests.lab.console import on_pty
from tests.lab.engines.docker import Container
from tests.lab.wait import WAIT, until

pytestmark = pytest.mark.engine

# With the image's intervals, a test would wait for minutes.
FAST_HEALTH = ("--health-interval", "2s", "--health-timeout", "20s", "--health-retries", "2")


def health(vm: Container) -> str:
    return str(vm.inspect()["State"]["Health"]["Status"])


def test_docker_reports_whether_a_vm_is_healthy(vms: Vms) -> None:
    vm = vms.start("--hostname", "web", *FAST_HEALTH)

    def await_health(wanted: str) -> None:
        detail = lambda: json.dumps(vm.inspect()["State"]["Health"], indent=1)  # noqa: E731
        until(lambda: health(vm) == wanted, BOOT_SECONDS, wanted, interval=0.5, detail=detail)

    await_health("healthy")
    vms.await_log(vm, f"vmnet-guest: eth0 {vm.address()}/")

    status = vm.exec("vmnet", "status", "--json").json()
    assert status["qemu"]["state"] == "running"
    assert status["process"]["pid"] == 1
    assert status["guest"] == [
        {
            "nic": "eth0",
            "answering": [vm.address()],
            "silent": [],
            "unknown": "",
            "mute": False,
        }
    ]
    (lease,) = status["handovers"]
    assert (lease["done"], lease["detail"]) == (True, f"DHCP: {vm.address()} is leased")
    shown = vm.exec("vmnet", "status").stdout
    assert f"the guest answers for {vm.address()}" in shown
    assert "healthy: " in vm.exec("vmnet", "health", "--strict").stdout

    (dnsmasq,) = (helper for helper in status["helpers"] if helper["name"] == "dnsmasq")
    vm.exec("sh", "-c", f"kill -STOP {dnsmasq['pid']}")
    await_health("unhealthy")
    (*_, last) = vm.inspect()["State"]["Health"]["Log"]
    assert last["Output"].startswith("unhealthy: dnsmasq is stopped")
    vm.exec("sh", "-c", f"kill -9 {dnsmasq['pid']}")
    await_health("healthy")
    assert "vmnet: error: dnsmasq: ended before the VM" in vm.logs()


def test_the_console_and_a_stop(vms: Vms) -> None:
    vm = vms.start("-e", "VMNET_LOG=json")
    vms.await_log(vm, f"vmnet-guest: eth0 {vm.address()}/")
    with on_pty("docker", "exec", "-it", vm.id, "vmnet", "console", env=vms.docker.env) as console:
        console.expect("Ctrl-] leaves")
        console.send("\r")
        console.expect("vmnet-guest# ")
        console.send("echo $((6 * 7)) is seen\r")
        console.expect("^42 is seen")
        assert "42 is seen" in vm.logs(), "docker attach and docker logs show it, too"

        second = vm.exec("vmnet", "console", check=False)
        assert second.returncode == 22
        assert "(vmnet) is already attached" in json.loads(second.stderr)["message"]

        console.send("\x1d")
        console.expect("detached: the VM keeps running")
    piped = vm.exec(
        *("timeout", "10", "vmnet", "console"), input="echo $((7 * 6)) is piped\n", check=False
    )
    assert "42 is piped" in piped.stdout

    stopped = vm.exec("vmnet", "stop", "--timeout", "60", check=False, timeout=WAIT)
    assert (stopped.returncode, vm.wait()) == (0, 0), stopped.stderr
    assert stopped.stdout.startswith("the guest powered off after ")
    lines = (line.lstrip("\r") for line in vm.logs().splitlines())
    messages = [json.loads(line) for line in lines if line.startswith(("{", "vmnet:"))]
    assert {"time", "level", "message"} <= set.union(*map(set, messages))
    vms.docker.docker("start", vm.id)
    assert vm.exec("vmnet", "health", check=False).stdout.startswith(("starting", "healthy"))
