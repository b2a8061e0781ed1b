"""A real guest has the address that the service allocates, and vmnet releases it at the end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.lab.ipam.http import Site
from tests.lab.net.lan import lan
from tests.lab.net.snapshot import require_same
from tests.vm.conftest import BOOT_SECONDS, PATIENT, VMNET, DemoVm, Guest, ask
from tests.vm.conftest import demo_guest as demo_guest  # needed by machine
from tests.vm.conftest import machine as machine

pytestmark = pytest.mark.vm


def test_the_guest_has_what_was_allocated(machine: DemoVm, tmp_path: Path) -> None:
    with lan() as network:
        site = Site.made(network, tmp_path, VMNET_MEMORY="256M")
        web, station = network.container("web"), network.station()
        before = web.dump()
        with site.service(pool="172.30.1.200/30") as server:
            environ = {**machine.environ, **site.settings(server.url), **PATIENT}
            with web.popen(*VMNET, "run", env=environ, pid=True, apart=True) as process:
                guest = Guest(process)
                guest.says(f"vmnet-guest: eth0 172.30.1.201/24 via {network.gateway}")
                identity = ask(station, "172.30.1.201", "identity")
                assert list(server.allocated()) == ["172.30.1.201"]
                process.signal(signal.SIGTERM)
                assert process.wait(BOOT_SECONDS) == 0
                assert "power button, shutting down" in guest.output()
            assert server.is_empty()
            require_same(before, web.dump())
    (eth0,) = identity["interfaces"]
    assert (eth0["mac"], eth0["ipv4"]) == (web.mac, ["172.30.1.201/24"])
    assert f"default via {network.gateway} dev eth0" in identity["routes"]
    assert identity["hostname"] == "web"
