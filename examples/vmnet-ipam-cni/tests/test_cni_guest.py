"""A real guest has the address that host-local allocated, and vmnet releases it at the end."""

from __future__ import annotations

import pytest

from tests.lab.console import on_process
from tests.lab.ipam.cni import Lab, lab
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.vm.conftest import BOOT_SECONDS, VMNET, DemoVm, ask, demo_guest, machine, network

__all__ = ["demo_guest", "lab", "machine", "network"]

pytestmark = pytest.mark.vm

FIRST = "172.30.1.100"


def test_the_guest_has_the_allocated_address_until_it_powers_off(
    network: Lan, machine: DemoVm, lab: Lab
) -> None:
    ranges = [
        [{"subnet": "172.30.1.0/24", "rangeStart": FIRST, "rangeEnd": "172.30.1.110"}],
        [{"subnet": "fd00:30:1::/64", "rangeStart": "fd00:30:1::100"}],
    ]
    lab.host_local(ranges=ranges, routes=[{"dst": "0.0.0.0/0"}, {"dst": "::/0"}])
    web, station = network.container("web", ipv6=True), network.station()
    environ = {**machine.environ, **lab.environ()}
    with (
        web.popen(*VMNET, "run", env=environ, pid=True, pipe=True) as process,
        on_process(process) as console,
    ):
        console.expect("vmnet-guest# ", BOOT_SECONDS)
        address = "eth0 fd00:30:1::100/128"  # printed before or after the prompt
        until(lambda: address in console.transcript, BOOT_SECONDS, address)
        assert lab.held() == [FIRST, "fd00:30:1::100"]
        identity = ask(station, FIRST, "identity")
        (eth0,) = identity["interfaces"]
        assert (eth0["mac"], eth0["ipv4"]) == (web.mac, [f"{FIRST}/24"])
        assert eth0["ipv6"] == ["fd00:30:1::100/128"]
        assert f"default via {network.gateway} dev eth0" in identity["routes"]
        gone = station.run("arping", "-c2", "-w2", "-I", "eth0", web.address, check=False)
        assert gone.returncode == 1, "the container's own address is still in use"
        console.send_line("poweroff")
        assert process.wait(WAIT) == 0, process.output()
    assert lab.held() == []
