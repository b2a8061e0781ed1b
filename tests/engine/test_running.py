"""Inspect a running VM container with `docker exec`, and by Docker's health check."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.engine.conftest import BOOT_SECONDS, Vms
from tests.lab.command import background
from tests.lab.console import on_process, on_pty
from tests.lab.engines.docker import Container
from tests.lab.wait import WAIT, until

pytestmark = pytest.mark.engine

# With the image's intervals, a test would wait for minutes.
FAST_HEALTH = ("--health-interval", "2s", "--health-timeout", "20s", "--health-retries", "2")


def await_output(vm: Container, is_right: Callable[[str], bool], *command: str) -> None:
    """Wait for a command's output, because a busy guest may answer later than vmnet waits."""

    def read() -> str:
        return vm.exec("vmnet", *command, check=False).stdout

    until(lambda: is_right(read()), WAIT, f"vmnet {' '.join(command)}", interval=0.5, detail=read)


def test_docker_reports_whether_a_vm_is_healthy(vms: Vms) -> None:
    vm = vms.start("--hostname", "web", *FAST_HEALTH)

    def await_health(wanted: str, reason: str = "") -> None:
        def reported() -> bool:
            found = vm.inspect()["State"]["Health"]
            is_given = found["Status"] == wanted
            return is_given and str(found["Log"][-1]["Output"]).startswith(reason)

        detail = lambda: json.dumps(vm.inspect()["State"]["Health"], indent=1)  # noqa: E731
        until(reported, BOOT_SECONDS, wanted, interval=0.5, detail=detail)

    await_health("healthy")
    vms.await_log(vm, f"vmnet-guest: eth0 {vm.address()}/")

    status = vm.exec("vmnet", "status", "--json").json()
    assert status["qemu"]["state"] == "running"
    assert status["process"]["pid"] == 1
    (lease,) = status["handovers"]
    assert (lease["done"], lease["detail"]) == (True, f"DHCP: {vm.address()} is leased")
    answers = {
        "nic": "eth0",
        "answering": [vm.address()],
        "silent": [],
        "unknown": "",
        "mute": False,
    }
    await_output(vm, lambda output: json.loads(output)["guest"] == [answers], "status", "--json")
    await_output(vm, lambda output: f"the guest answers for {vm.address()}" in output, "status")
    await_output(vm, lambda output: output.startswith("healthy: "), "health", "--strict")

    (dnsmasq,) = (helper for helper in status["helpers"] if helper["name"] == "dnsmasq")
    vm.exec("sh", "-c", f"kill -STOP {dnsmasq['pid']}")
    await_health("unhealthy", "unhealthy: dnsmasq is stopped")
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
        vms.await_log(vm, "42 is seen")

        second = vm.exec("vmnet", "console", check=False)
        assert second.returncode == 22
        assert "(vmnet) is already attached" in json.loads(second.stderr)["message"]

        console.send("\x1d")
        console.expect("detached: the VM keeps running")
    piped = ("docker", "exec", "-i", vm.id, "vmnet", "console")
    with background(*piped, env=vms.docker.env, pipe=True) as client, on_process(client) as console:
        client.stdin.write(b"echo $((7 * 6)) is piped\n")
        client.stdin.close()
        console.expect("42 is piped")

    stopping = ("vmnet", "stop", "--timeout", str(WAIT))
    stopped = vm.exec(*stopping, check=False, timeout=2 * WAIT)
    assert (stopped.returncode, vm.wait()) == (0, 0), stopped.stderr
    assert stopped.stdout.startswith("the guest powered off after ")
    lines = (line.lstrip("\r") for line in vm.logs().splitlines())
    messages = [json.loads(line) for line in lines if line.startswith(("{", "vmnet:"))]
    assert {"time", "level", "message"} <= set.union(*map(set, messages))
    vms.docker.docker("start", vm.id)
    await_output(vm, lambda output: output.startswith(("starting", "healthy")), "health")
