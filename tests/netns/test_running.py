"""The record that a start leaves for later commands, and its log."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.lab.command import run
from tests.lab.net.lan import Lan
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet
from vmnet.errors import BridgeError
from vmnet.supervision import pidfiles


def test_a_start_records_its_helpers(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    with vmnet.running(web) as process:
        record = json.loads((vmnet.run_dir / "vm.json").read_text())
        assert record["hypervisor"]["pid"] == 1
        (nic,) = record["nics"]
        assert (nic["mac"], nic["tap"], nic["confined"]) == (web.mac, "tap0", True)
        assert set(nic["addresses"]) >= {web.address}
        outside = {inner(pid): pid for pid in map(web.pid_of, ("dnsmasq", "vmnet-responder"))}
        helpers = {helper["name"]: Path(helper["pidfile"]) for helper in record["helpers"]}
        assert set(helpers) == {"dnsmasq", "the responder", "the keeper"}

        def health() -> Any:
            entered = ("nsenter", "-t", str(process.pid), "--net", "--pid", "--mount")
            found = run(*entered, *VMNET, "health", "--json", env=vmnet.environ, check=False)
            return found.json()["reason"]

        # The stand-in for QEMU inherits its socket, but never answers.
        silent = "QEMU does not answer on its control socket"
        assert health() == silent
        for name in ("dnsmasq", "the responder"):
            pidfile = helpers[name]
            pid = int(pidfile.read_text())
            os.kill(outside[pid], signal.SIGSTOP)
            stopped = f"{name} is stopped"
            until(lambda stopped=stopped: health().startswith(stopped), WAIT, stopped)  # type: ignore[misc]
            os.kill(outside[pid], signal.SIGKILL)
            _await_successor(pidfile, pid)
            who = name.removeprefix("the ")
            assert f"vmnet: error: {who}: ended before the VM" in process.output()
        assert health() == silent


def _await_successor(pidfile: Path, pid: int) -> None:
    until(lambda: pidfiles.read(str(pidfile)) not in (None, pid), WAIT, "another process")


def test_a_second_start_in_a_running_vms_container_changes_nothing(
    network: Lan, vmnet: Vmnet
) -> None:
    """This is `docker exec NAME vmnet run`, by mistake."""
    web = network.container("web", ipv6=True)
    with vmnet.running(web) as process:
        before, state = web.dump(), (vmnet.run_dir / "state.json").read_text()
        entered = ("nsenter", "-t", str(process.pid), "--net", "--pid", "--mount")
        second = run(*entered, *VMNET, "run", env=vmnet.environ, check=False)
        assert second.returncode == BridgeError.exit_code
        assert second.stderr.splitlines() == [
            "vmnet: error: a VM already runs in this container and uses its network",
            "vmnet: hint: `vmnet status` shows it, and `vmnet stop` stops it",
        ]
        require_same(before, web.dump())
        assert (vmnet.run_dir / "state.json").read_text() == state


def test_addresses_from_another_system_are_not_recorded(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with vmnet.running(web, NO_DHCP="true") as process:
        record = json.loads((vmnet.run_dir / "vm.json").read_text())
        log = process.output()
    assert [nic["addresses"] for nic in record["nics"]] == [[]]
    assert f"eth0: the guest gets MAC {web.mac}; another system gives it an address" in log
    assert str(web.address) not in log


def inner(pid: int) -> int:
    """Return a process's PID in its own PID namespace (proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))


def test_a_start_that_fails_leaves_no_record(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    failed = vmnet(web, "run", VMNET_QEMU="/bin/false-path")
    assert failed.returncode
    assert not (vmnet.run_dir / "vm.json").exists()


def test_every_json_log_line_is_an_object(network: Lan, vmnet: Vmnet) -> None:
    """This covers a start that succeeds, one that recovers the network, and one that fails."""
    web = network.container("web")
    settings = {"VMNET_LOG": "json", "VMNET_LOG_LEVEL": "debug", "VMNET_NTP": "2001:db8::1"}
    with vmnet.running(web, **settings, VMNET_GUARD="on") as process:
        lines = process.output().splitlines()
    recovered = vmnet(web, "run", **settings, VMNET_BRIDGE_ADDRESS="10.0.0.0")
    failed = vmnet(web, "run", **{**settings, "VMNET_MEMORY": "lots"})
    for log in (lines, recovered.stderr.splitlines(), failed.stderr.splitlines()):
        entries = [json.loads(line) for line in log]
        assert entries
        assert all(entry.keys() >= {"time", "level", "event", "message"} for entry in entries)
    failures = map(json.loads, failed.stderr.splitlines())
    errors = [entry for entry in failures if entry["level"] == "error"]
    assert [error["message"] for error in errors] == [
        "VMNET_MEMORY=lots is not a size such as 512M or 2G, a part such as 75%, max or auto"
    ]
    assert errors[0]["hint"]
