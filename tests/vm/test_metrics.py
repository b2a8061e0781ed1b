"""`vmnet metrics` for a real VM, whose guest uses its disk and forges an address."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.net.lan import Lan
from tests.lab.openmetrics import Samples, samples
from tests.lab.wait import WAIT, until
from tests.vm.conftest import BOOT_SECONDS, PROMPT_LINE, VMNET, DemoVm
from tests.vm.test_filter_guest import received, shell

pytestmark = pytest.mark.vm

FORGED = "172.30.1.77"


def test_the_metrics_of_a_vm(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    web = network.container("web")
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    demo = Path(machine.environ["VMNET_DEMO"])
    settings = {
        "VMNET_KERNEL": str(demo / "vmlinuz"),
        "VMNET_INITRD": str(demo / "initrd"),
        "VMNET_APPEND": "console=ttyS0 quiet panic=-1",
        "VMNET_DISK": str(disk),
        "VMNET_DISK_FORMAT": "raw",
    }

    def measured() -> Samples:
        environ = {**machine.environ, **settings}
        (pid,) = web.pids_of("qemu-system-x86")
        entered = ("nsenter", "-t", str(pid), "--net", "--pid", "--mount")
        return samples(run(*entered, *VMNET, "metrics", env=environ, timeout=WAIT).stdout)

    def complete() -> Samples | None:
        """Return the samples, unless QEMU did not answer in time, as a busy QEMU does at times."""
        found = measured()
        return found if ("vmnet_disk_read_bytes_total", "disk0") in found else None

    def answered() -> Samples | None:
        """Return samples of a guest that answered in time, as a busy guest does not always."""
        found = complete()
        good = found and found["vmnet_health", "healthy"] and found["vmnet_guest_answers", "eth0"]
        return found if good else None

    with shell(web, machine, **settings) as console:
        first = until(answered, WAIT, "a healthy guest that answers")
        assert first["vmnet_up",] == first["vmnet_guest_running",] == 1
        assert first["vmnet_guest_identity_received", "eth0", "dnsmasq"] == 1
        assert first["vmnet_guest_agent_up",] == 0
        assert first["vmnet_guest_memory_bytes",] == 256 << 20
        assert first["vmnet_process_resident_memory_bytes", "qemu"] > 32 << 20
        assert first["vmnet_process_restarts_total", "guard"] == 0
        console.command("dd if=/dev/vda of=/dev/null bs=64k count=4 iflag=direct", PROMPT_LINE)
        console.command(f"ip address add {FORGED}/32 dev eth0", PROMPT_LINE)
        assert received(console, f"arping -c 3 -w 60 -I eth0 -s {FORGED} {network.gateway}") == 0
        second = until(complete, WAIT, "an answer of QEMU")
    counters = {
        ("vmnet_disk_read_bytes_total", "disk0"): 4 << 16,
        ("vmnet_filter_dropped_packets_total", "tap", "eth0"): 3,
        ("vmnet_network_transmit_packets_total", "eth0"): 3,
        ("vmnet_process_cpu_seconds_total", "qemu"): 0.01,
    }
    for key, least in counters.items():
        assert second[key] - first[key] >= least, key


def test_a_vms_life_in_metrics_and_events(network: Lan, machine: DemoVm) -> None:
    web, station = network.container("web"), network.station()
    settings = {"VMNET_METRICS": "9100", "VMNET_LOG": "json", "VMNET_STOP_TIMEOUT": f"{WAIT}"}

    def scraped() -> Samples:
        """Return the metrics; none while the exporter restarts, or the machine is too busy."""
        asked = ("curl", "-sS", "--fail", "--noproxy", "*", "-m", "20")
        done = station.run(*asked, f"http://{web.address}:9100/metrics", timeout=WAIT, check=False)
        return {} if done.returncode else samples(done.stdout)

    def has(*expected: tuple[str, ...]) -> bool:
        found = scraped()
        return all(found.get(key) == 1 for key in expected)

    with machine.booted(web, **settings) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        well = (
            ("vmnet_health", "healthy"),
            ("vmnet_guest_answers", "eth0"),
            ("vmnet_guest_running",),
        )
        until(lambda: has(*well), WAIT, "a healthy guest", detail=guest.output)
        (http,) = web.pids_of("vmnet-http")
        os.kill(http, signal.SIGKILL)
        restarted = ("vmnet_process_restarts_total", "metrics")
        until(lambda: has(restarted), WAIT, "another exporter", detail=guest.output)
        os.kill(guest.process.pid, signal.SIGTERM)
        assert guest.process.wait(BOOT_SECONDS) == 0
        events = re.findall(r'"event": "([\w.]+)"', guest.output())
    # The kernel may kill the guard with QEMU, before it logs the power-off.
    facts = ("guest.identity", "helper.restarting", "guest.stopping")
    assert [event for event in events if event in facts] == list(facts)
