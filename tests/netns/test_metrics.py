"""`vmnet metrics` in the container of a VM, whose guest is a namespace behind the tap."""

from __future__ import annotations

import os
import signal

import pytest

from tests.lab.command import Process, run
from tests.lab.net import frames
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.tap_guest import behind_tap
from tests.lab.openmetrics import Samples, samples
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, hypervisor
from vmnet.net.packets import BROADCAST, mac_bytes

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
        (pid,) = web.pids_of("dnsmasq")
        os.kill(pid, signal.SIGKILL)
        before = pidfile.read_text()
        until(lambda: pidfile.exists() and pidfile.read_text() != before, WAIT, "a new dnsmasq")
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
