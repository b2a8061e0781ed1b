"""The commands for a running VM, run in its namespaces as `docker exec` runs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.lab.command import Completed, run
from tests.lab.net.lan import Lan
from tests.lab.net.services import dnsmasq
from tests.lab.wait import WAIT, until
from tests.vm.conftest import BOOT_SECONDS, VMNET, DemoVm, Guest
from vmnet.running import qmp_session
from vmnet.supervision.exit_port import FORCED_STATUS

pytestmark = pytest.mark.vm


@frozen
class Inside:
    """Runs vmnet's commands in the namespaces of a VM, as `docker exec` does."""

    guest: Guest
    machine: DemoVm
    settings: dict[str, str]

    def __call__(self, *arguments: str) -> Completed:
        entered = ("nsenter", "-t", str(self.guest.process.pid), "--net", "--pid", "--mount")
        environ = {**self.machine.environ, **self.settings}
        return run(*entered, *VMNET, *arguments, env=environ, check=False, timeout=WAIT)

    def status(self) -> Any:
        return self("status", "--json").json()

    def health(self, *options: str) -> tuple[int, Any]:
        completed = self("health", "--json", *options)
        return completed.returncode, completed.json()

    def becomes(self, verdict: str, *options: str, because: str = "") -> str:
        """Await a verdict, and return its reason.

        :param because: part of the reason. QEMU has 0.3 s to answer; a busy QEMU is unhealthy, too.
        """

        def reason() -> str:
            code, found = self.health(*options)
            assert (code == 0) == (found["verdict"] == "healthy")
            is_expected = found["verdict"] == verdict and because in found["reason"]
            return str(found["reason"]) if is_expected else ""

        detail = lambda: self("health").stdout + self.guest.output()  # noqa: E731
        return until(reason, BOOT_SECONDS, verdict, interval=0.5, detail=detail)


def test_status_and_health_from_boot_to_a_lost_helper(network: Lan, machine: DemoVm) -> None:
    web = network.container("web", ipv6=True)
    with machine.booted(web) as guest:
        inside = Inside(guest, machine, {})
        code, early = inside.health()
        if early["verdict"] == "starting":  # unless the guest was faster
            assert code == 1
            assert "the guest does not answer for" in early["reason"]
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        assert web.address in inside.becomes("healthy", "--strict")
        # A busy guest does not always answer in time.
        answering = lambda: web.address in inside.status()["guest"][0]["answering"]  # noqa: E731
        until(answering, WAIT, "an answer of the guest", interval=0.5, detail=guest.output)
        found = inside.status()
        assert (found["qemu"]["state"], found["qemu"]["accelerator"]) == ("running", "tcg")
        assert found["process"]["pid"] == 1
        assert 0 < found["uptime"] < 600
        assert found["identity"]["hostname"] == "web"
        assert found["wiring"]["ports"][0]["guest_mac"] == web.mac
        leases = {handover["detail"]: handover["done"] for handover in found["handovers"]}
        assert leases[f"DHCP: {web.address} is leased"] is True
        names = [helper["name"] for helper in found["helpers"]]
        assert "dnsmasq" in names
        assert all(helper["runs"] for helper in found["helpers"])
        assert "running, emulation (TCG), x86_64, version " in inside("status").stdout
        answers = f"the guest answers for {web.address}"
        until(lambda: answers in inside("status").stdout, WAIT, answers, interval=0.5)

        killed = next(helper for helper in found["helpers"] if helper["name"] == "dnsmasq")
        kill(inside, killed["pid"])
        until(lambda: is_replaced(inside, killed), WAIT, "another dnsmasq")
        inside.becomes("healthy")


def is_replaced(inside: Inside, killed: dict[str, Any]) -> bool:
    helpers = inside.status()["helpers"]
    current = next(helper for helper in helpers if helper["name"] == killed["name"])
    return bool(current["runs"]) and current["pid"] != killed["pid"]


def kill(inside: Inside, pid: int) -> None:
    """Kill a process by its number in the VM's PID namespace."""
    entered = ("nsenter", "-t", str(inside.guest.process.pid), "--pid", "--mount")
    run(*entered, "kill", "-9", str(pid))


def test_stop_presses_the_power_button_and_reports(network: Lan, machine: DemoVm) -> None:
    web = network.container("web")
    with machine.booted(web) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        inside = Inside(guest, machine, {})
        stopped = inside("stop", "--timeout", "60")
        assert stopped.returncode == 0, stopped.stderr
        assert "the guest powered off after " in stopped.stdout
        assert "pressing the guest's power button; it has 60 s" in stopped.stderr
        assert guest.process.wait(WAIT) == 0
        assert "power button, shutting down" in guest.output()


def test_stop_gives_up_unless_forced(network: Lan, machine: DemoVm) -> None:
    """The guest ignores its power button, because its CPU never starts."""
    web = network.container("web")
    with machine.booted(web, "-S") as guest:
        inside = Inside(guest, machine, {"VMNET_LOG": "json"})
        until(lambda: inside("status").returncode == 0, WAIT, "QEMU to be there")
        inside.becomes("unhealthy", because="prelaunch: ")
        refused = inside("stop", "--timeout", "8")  # with progress after two seconds
        assert refused.returncode == 22
        *progress, error = map(json.loads, refused.stderr.splitlines())
        assert "waiting for the guest to power off" in progress[-1]["message"]
        assert error["message"] == "the guest did not power off within 8 s and keeps running"
        assert "--force" in error["hint"]
        assert guest.process.poll() is None
        forced = inside("stop", "--timeout", "1", "--force", "--json")
        assert forced.returncode == 0, forced.stderr
        assert forced.json()["result"] == "forced"
        assert guest.process.wait(WAIT) == FORCED_STATUS


HOLD = """
import socket, sys, time
made = socket.socket(socket.AF_UNIX)
made.connect(sys.argv[1])
print(made.recv(100), flush=True)
time.sleep(600)
"""


def test_another_client_of_the_control_socket_is_reported(network: Lan, machine: DemoVm) -> None:
    """The client shares the network namespace, but not the PID namespace, as in a pod."""
    web = network.container("web")
    socket_of_qemu = f"{machine.environ['VMNET_RUN_DIR']}/qmp.sock"
    with machine.booted(web, "-S") as guest:
        inside = Inside(guest, machine, {})
        until(lambda: inside("status").returncode == 0, WAIT, "QEMU to be there")
        with web.popen(sys.executable, "-c", HOLD, socket_of_qemu) as holder:
            until(lambda: "QMP" in holder.output(), WAIT, "QEMU's greeting", detail=holder.output)
            found = inside.status()["qemu"]
            assert "a process outside of this container is connected to " in found["unknown"]
            stopped = inside("stop", "--timeout", "1")
            assert stopped.returncode == 22
            assert "which serves one client at a time" in stopped.stderr
            # Without an answer from QEMU, the guest's health is not in doubt.
            inside.becomes("healthy", "--no-strict", "--grace", "0")


def test_a_guest_that_stops_answering(network: Lan, machine: DemoVm) -> None:
    """Its kernel runs on. After QEMU's `stop`, QEMU's state would explain the silence."""
    web = network.container("web")
    with machine.booted(web) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        inside = Inside(guest, machine, {})
        inside.becomes("healthy", "--strict")
        with qmp_session.session(Path(machine.environ["VMNET_RUN_DIR"], "qmp.sock")) as qemu:
            qemu.ask("set_link", {"name": "net0", "up": False})
        silent = f"does not answer for {web.address} on eth0 any more"
        inside.becomes("unhealthy", "--grace", "0", because=silent)


def test_another_system_gives_the_address(network: Lan, machine: DemoVm) -> None:
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
        inside.becomes("healthy", "--grace", "0")
