"""Guests with another processor than the host's, which QEMU emulates."""

from __future__ import annotations

import signal

import pytest

from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT
from tests.vm.conftest import DemoVm, ask

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("arm_guest")]

ARM = {"VMNET_ARCH": "arm64"}


def test_the_guest_is_the_container_and_stops(network: Lan, machine: DemoVm) -> None:
    web, station = network.container("web", mtu=1450), network.station()
    with machine.booted(web, **ARM) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24 via {network.gateway}")
        identity = ask(station, web.address, "identity")
        guest.process.signal(signal.SIGTERM)
        assert guest.process.wait(WAIT) == 0
        guest.says("vmnet-guest: power button, shutting down")
    assert identity["hostname"] == "web"
    (eth0,) = identity["interfaces"]
    assert (eth0["mac"], eth0["mtu"]) == (web.mac, 1450)
    assert eth0["ipv4"] == [f"{web.address}/24"]
