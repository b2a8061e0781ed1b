"""Guests with another processor than the host's, which QEMU emulates."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.lab.images import uefi
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


@pytest.mark.long
def test_a_disk_boots_with_uefi(
    network: Lan, machine: DemoVm, arm_guest: Path, tmp_path: Path
) -> None:
    disk = uefi.make_arm_demonstration(tmp_path / "disk.raw", arm_guest / "aarch64")
    state = tmp_path / "state"
    settings = {"VMNET_DISK": str(disk), "VMNET_DISK_STATE": str(state), "VMNET_MEMORY": "512M"}
    web = network.container("web")
    with machine.booted(web, VMNET_DISK_FORMAT="raw", **settings, **ARM) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        guest.process.signal(signal.SIGTERM)
        assert guest.process.wait(WAIT) == 0
    assert (state / "uefi-variables.fd").exists()
