"""`vmnet metrics` in the container of a VM, whose guest is a namespace behind the tap."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.lab.command import Process, run
from tests.lab.net import frames
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.tap_guest import behind_tap
from tests.lab.openmetrics import Samples, samples
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, hypervisor
from vmnet.errors import SettingsError
from vmnet.net.packets import BROADCAST, mac_bytes
from vmnet.supervision import pidfiles

ROGUE_MAC = "02:42:ac:1e:01:99"


def measured(vmnet: Vmnet, process: Process, **settings: str) -> Samples:
    """Run the command in the container's namespaces, as `docker exec` does."""
    entered = ("nsenter", "-t", str(process.pid), "--net", "--pid", "--mount")
    return samples(run(*entered, *VMNET, "metrics", env={**vmnet.environ, **settings}).stdout)


def test_frames_of_the_guest_are_counted_and_those_that_the_filter_drops(
    web: Namespace, vmnet: Vmnet, chosen: dict[str, str]
) -> None:
    with (
        vmnet.running(web, **chosen) as process,
        behind_tap(hypervisor(web), web.mac) as guest,
    ):
        before = measured(vmnet, process, **chosen)
        frames.send(guest, *[frames.forged(ROGUE_MAC)] * 5)
        own = BROADCAST + mac_bytes(web.mac) + bytes.fromhex("0806") + bytes(46)
        frames.send(guest, own)

        def counted() -> bool:
            after = measured(vmnet, process, **chosen)
            name = "vmnet_filter_dropped_packets_total"
            sent = "vmnet_network_transmit_packets_total"
            dropped = after[name, "tap", "eth0"] - before[name, "tap", "eth0"]
            return dropped >= 5 and after[sent, "eth0"] - before[sent, "eth0"] >= 6

        until(counted, WAIT, "the frames in the metrics")


def test_a_restart_of_a_helper_is_counted_until_the_next_start(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    restarts = ("vmnet_process_restarts_total", "dnsmasq")
    pidfile = vmnet.run_dir / "dnsmasq.pid"
    with vmnet.running(web) as process:
        first = measured(vmnet, process)
        assert first[restarts] == 0
        assert first["vmnet_process_up", "dnsmasq"] == 1
        assert first["vmnet_guest_identity_received", "eth0", "dnsmasq"] == 0
        old = pidfiles.read(str(pidfile))
        (pid,) = web.pids_of("dnsmasq")
        os.kill(pid, signal.SIGKILL)
        until(lambda: pidfiles.read(str(pidfile)) not in (None, old), WAIT, "a new dnsmasq")
        assert measured(vmnet, process)[restarts] == 1
    with vmnet.running(web) as process:
        assert measured(vmnet, process)[restarts] == 0


@pytest.mark.parametrize("strategy", ["passt"], indirect=True)
def test_a_nic_without_a_tap_has_no_counters(
    web: Namespace, vmnet: Vmnet, chosen: dict[str, str]
) -> None:
    with vmnet.running(web, **chosen) as process:
        found = measured(vmnet, process, **chosen)
    assert found["vmnet_up",] == 1
    assert not [key for key in found if key[0].startswith("vmnet_network_")]


def answer(where: Namespace, address: str, seconds: int = 20) -> str:
    """Return the page; empty if there is none, for example because the machine is too busy."""
    host = f"[{address}]" if ":" in address else address
    asked = ("curl", "-sS", "--fail", "-g", "--noproxy", "*", "-m", str(seconds))
    done = where.run(*asked, f"http://{host}:9100/metrics", timeout=WAIT, check=False)
    return done.stdout


def scraped(where: Namespace, address: str, process: Process) -> Samples:
    page = until(lambda: answer(where, address), WAIT, "the metrics", detail=process.output)
    return samples(page)


@pytest.mark.parametrize("strategy", ["bridge", "macvlan", "passt"], indirect=True)
def test_a_machine_on_the_network_scrapes_the_metrics_at_the_guests_address(
    network: Lan, web: Namespace, vmnet: Vmnet, chosen: dict[str, str]
) -> None:
    station = network.station(ipv6=True)
    settings = {**chosen, "VMNET_METRICS": "9100"}
    shown = vmnet(web, "plan", **settings)
    assert "Daemon metrics" in shown.stdout, shown.stderr
    checked = vmnet(web, "check", **settings)
    assert "TCP port 9100" in checked.stdout
    assert checked.stdout.count("the container keeps 9100/tcp") == 1
    assert checked.stderr == ""
    with vmnet.running(web, **settings) as process:
        found = scraped(station, web.address, process)
        assert found["vmnet_up",] == 1
        assert found["vmnet_process_up", "metrics"] == 1
        (pid,) = web.pids_of("vmnet-metrics")
        if chosen.get("VMNET_BRIDGE") != "passt":
            assert scraped(station, str(web.nic().address6), process)["vmnet_up",] == 1
        (http,) = web.pids_of("vmnet-http")
        status = Path(f"/proc/{http}/status").read_text()
        assert "Uid:\t65534\t65534\t65534\t65534" in status
        assert "CapPrm:\t0000000000000000" in status
        assert Path(f"/proc/{http}/environ").read_bytes() == b"", "it may contain passwords"
        os.kill(http, signal.SIGKILL)

        def is_replaced() -> bool:
            return bool(web.pids_of("vmnet-metrics")) and pid not in web.pids_of("vmnet-metrics")

        until(is_replaced, WAIT, "another exporter", detail=process.output)
        restarted = scraped(station, web.address, process)
        assert restarted["vmnet_process_restarts_total", "metrics"] == 1


def test_the_exporter_is_found_nowhere_else(network: Lan, vmnet: Vmnet) -> None:
    """The bridge has a spare address, at which the network reaches no service of the container."""
    web, station = network.container("web"), network.station()
    settings = {"VMNET_METRICS": "9100", "VMNET_BRIDGE_ADDRESS": "172.30.1.200/24"}
    with vmnet.running(web, **settings) as process:
        assert scraped(station, web.address, process)
        assert not answer(station, "172.30.1.200", seconds=3)
        listening = web.run("ss", "-Hltn").stdout.split()
        assert [place for place in listening if place.endswith(":9100")] == [
            place for place in listening if place.startswith("169.254.") and ":9100" in place
        ]


def test_metrics_on_loopback_keep_no_port(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    web.ip("link", "set", "lo", "up")
    with vmnet.running(web, VMNET_METRICS="127.0.0.1:9100") as process:
        assert scraped(web, "127.0.0.1", process)["vmnet_up",] == 1


def test_metrics_need_the_guests_address_or_loopback(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    refused = vmnet(web, "plan", VMNET_METRICS="9100", NO_DHCP="true")
    assert refused.returncode == SettingsError.exit_code
    assert "VMNET_METRICS" in refused.stderr
