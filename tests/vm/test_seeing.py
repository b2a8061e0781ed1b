"""What `docker exec` sees of a running VM and does to it; here by entering its namespaces."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any
from unittest.mock import ANY

import pytest
from attrs import frozen

from tests.lab.command import Completed, run
from tests.lab.netns import Lan
from tests.lab.services import dnsmasq
from tests.lab.wait import until
from tests.vm.conftest import BOOT_SECONDS, VMNET, Guest, Machine
from vmnet.supervision.guard import FORCED_STATUS

pytestmark = pytest.mark.vm


@frozen
class Inside:
    """The command line in the namespaces of a VM's processes, as `docker exec` has it."""

    guest: Guest
    machine: Machine
    settings: dict[str, str]

    def __call__(self, *arguments: str) -> Completed:
        entered = ("nsenter", "-t", str(self.guest.process.pid), "--net", "--pid", "--mount")
        environ = {**self.machine.environ, **self.settings}
        return run(*entered, *VMNET, *arguments, env=environ, check=False, timeout=90)

    def status(self) -> Any:
        return self("status", "--json").json()

    def health(self, *options: str) -> tuple[int, Any]:
        done = self("health", "--json", *options)
        return done.returncode, done.json()

    def becomes(self, verdict: str, *options: str) -> str:
        """Await a verdict; the reason for it."""

        def reason() -> str:
            _, found = self.health(*options)
            return str(found["reason"]) if found["verdict"] == verdict else ""

        detail = lambda: self("health").stdout + self.guest.output()  # noqa: E731
        return until(reason, BOOT_SECONDS, verdict, interval=0.5, detail=detail)


def test_a_life_as_seen_from_beside(network: Lan, machine: Machine) -> None:
    web = network.container("web", ipv6=True)
    with machine.booted(web) as guest:
        inside = Inside(guest, machine, {})
        code, early = inside.health()
        if early["verdict"] == "starting":  # unless the guest was quicker than we
            assert code == 1
            assert "the guest does not answer for" in early["reason"]
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        assert web.address in inside.becomes("healthy", "--strict")
        assert inside.health()[0] == 0

        found = inside.status()
        assert (found["qemu"]["state"], found["qemu"]["accelerator"]) == ("running", "tcg")
        assert found["process"]["pid"] == 1
        assert 0 < found["uptime"] < 600
        assert found["identity"]["hostname"] == "web"
        assert found["wiring"]["ports"][0]["guest_mac"] == web.mac
        assert web.address in found["guest"][0]["answering"]
        leases = {one["detail"]: one["done"] for one in found["handovers"]}
        assert leases[f"DHCP: {web.address} is leased"] is True
        names = [one["name"] for one in found["helpers"]]
        assert "dnsmasq" in names
        assert all(one["runs"] for one in found["helpers"])
        text = inside("status").stdout
        assert "running, emulation (TCG), version " in text
        assert f"the guest answers for {web.address}" in text

        dead = next(one for one in found["helpers"] if one["name"] == "dnsmasq")
        end(inside, dead["pid"])
        until(lambda: another(inside, dead), 20, "another dnsmasq")
        inside.becomes("healthy")


def another(inside: Inside, dead: dict[str, Any]) -> bool:
    found = next(one for one in inside.status()["helpers"] if one["name"] == dead["name"])
    return bool(found["runs"]) and found["pid"] != dead["pid"]


def end(inside: Inside, pid: int) -> None:
    """By its number in there."""
    entered = ("nsenter", "-t", str(inside.guest.process.pid), "--pid", "--mount")
    run(*entered, "kill", "-9", str(pid))


def test_stop_presses_the_power_button_and_tells(network: Lan, machine: Machine) -> None:
    web = network.container("web")
    with machine.booted(web) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        inside = Inside(guest, machine, {})
        done = inside("stop", "--timeout", "60")
        assert done.returncode == 0, done.stderr
        assert "the guest powered off after " in done.stdout
        assert "pressing the guest's power button; it has 60 s" in done.stderr
        assert guest.process.wait(30) == 0
        assert "power button, shutting down" in guest.output()


def test_stop_gives_up_unless_forced(network: Lan, machine: Machine) -> None:
    """A guest that does not listen: its CPU never starts."""
    web = network.container("web")
    with machine.booted(web, "-S") as guest:
        inside = Inside(guest, machine, {"VMNET_LOG": "json"})
        until(lambda: inside("status").returncode == 0, 30, "QEMU to be there")
        assert inside.becomes("unhealthy").startswith("prelaunch: ")
        refused = inside("stop", "--timeout", "3")
        assert refused.returncode == 22
        *progress, error = map(json.loads, refused.stderr.splitlines())
        assert "waiting for the guest to power off" in progress[-1]["message"]
        assert error["message"] == "the guest did not power off within 3 s and keeps running"
        assert "--force" in error["hint"]
        assert guest.process.poll() is None
        forced = inside("stop", "--timeout", "1", "--force", "--json")
        assert forced.returncode == 0, forced.stderr
        assert forced.json()["result"] == "forced"
        assert guest.process.wait(30) == FORCED_STATUS


HOLD = """
import socket, sys, time
made = socket.socket(socket.AF_UNIX)
made.connect(sys.argv[1])
print(made.recv(100), flush=True)
time.sleep(600)
"""


def test_who_holds_the_control_socket_is_told(network: Lan, machine: Machine) -> None:
    """Here somebody in the network namespace, and with processes of its own, as in a pod."""
    web = network.container("web")
    socket_of_qemu = f"{machine.environ['VMNET_RUN_DIR']}/qmp.sock"
    with machine.booted(web, "-S") as guest:
        inside = Inside(guest, machine, {})
        until(lambda: inside("status").returncode == 0, 30, "QEMU to be there")
        with web.popen(sys.executable, "-c", HOLD, socket_of_qemu) as holder:
            until(lambda: "QMP" in holder.output(), 20, "QEMU's greeting", detail=holder.output)
            found = inside.status()["qemu"]
            assert "a process outside of this container is connected to " in found["unknown"]
            done = inside("stop", "--timeout", "1")
            assert done.returncode == 22
            assert "which serves one client at a time" in done.stderr
            # What can't be asked is not held against the guest.
            assert inside.health("--grace", "0") == (0, {"verdict": "healthy", "reason": ANY})


def test_a_guest_that_answered_and_no_longer_does(network: Lan, machine: Machine) -> None:
    """Its kernel goes on; QEMU's `stop` would be told by its state."""
    web = network.container("web")
    with machine.booted(web) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        inside = Inside(guest, machine, {})
        inside.becomes("healthy", "--strict")
        monitor(machine, "set_link", {"name": "net0", "up": False})
        reason = inside.becomes("unhealthy", "--grace", "0")
        assert f"does not answer for {web.address} on eth0 any more" in reason


def test_another_system_gives_the_address(network: Lan, machine: Machine) -> None:
    web = network.container("web")
    given = ("--dhcp-range=172.30.1.100,172.30.1.100,1h", f"--interface={network.bridge}")
    with (
        dnsmasq(network.host, *given, port=0),
        machine.booted(web, NO_DHCP="true") as guest,
    ):
        guest.says("vmnet-guest: eth0 172.30.1.100/24")
        inside = Inside(guest, machine, {"NO_DHCP": "true"})
        found = inside.status()
        (handover,) = found["handovers"]
        assert (handover["strategy"], handover["done"]) == ("nodhcp", None)
        assert inside.health("--grace", "0")[0] == 0


def monitor(machine: Machine, command: str, arguments: dict[str, Any]) -> None:
    """Through QEMU's control socket, from outside."""
    path = f"{machine.environ['VMNET_RUN_DIR']}/qmp.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(30)
        made.connect(path)
        for one in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
            made.sendall(json.dumps(one).encode() + b"\n")
        lines = made.makefile("rb")
        answers = [json.loads(lines.readline()) for _ in range(3)]
    assert all("error" not in one for one in answers), answers
