"""Guests with another processor than the host's, which QEMU emulates."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.folders import open_to_readers
from tests.lab.images import uefi
from tests.lab.net.lan import Lan, lan
from tests.lab.wait import WAIT
from tests.vm.conftest import PATIENT, DemoVm, ask

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("arm_guest")]

ARM = {"VMNET_ARCH": "arm64"}


def test_the_guest_is_the_container_and_stops(network: Lan, machine: DemoVm) -> None:
    web, station = network.container("web", mtu=1450), network.station()
    with machine.booted(web, VMNET_CPUS="9", **ARM, **PATIENT) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24 via {network.gateway}")
        identity = ask(station, web.address, "identity")
        guest.process.signal(signal.SIGTERM)
        assert guest.process.wait(WAIT) == 0
        guest.says("vmnet-guest: power button, shutting down")
    assert identity["hostname"] == "web"
    (eth0,) = identity["interfaces"]
    assert (eth0["mac"], eth0["mtu"]) == (web.mac, 1450)
    assert eth0["ipv4"] == [f"{web.address}/24"]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder with a path that is short enough for its name in the guest."""
    with tempfile.TemporaryDirectory(prefix="vmt-") as folder:
        yield Path(folder)


@pytest.mark.long
def test_a_disk_boots_with_uefi_among_every_device(
    network: Lan, machine: DemoVm, arm_guest: Path, tmp_path: Path, shared: Path
) -> None:
    disk = uefi.make_arm_demonstration(tmp_path / "disk.raw", arm_guest / "aarch64")
    state = tmp_path / "state"
    cdrom = tmp_path / "cd.iso"
    cdrom.write_bytes(bytes(1 << 20))
    open_to_readers(tmp_path)
    others = {
        f"VMNET_DISK{number}": f"{tmp_path}/{bus}.img,bus={bus},format=raw,size=1M"
        for number, bus in enumerate(("scsi", "sata", "nvme"), 2)
    }
    settings = {
        "VMNET_DISK": str(disk),
        "VMNET_DISK_FORMAT": "raw",
        "VMNET_DISK_STATE": str(state),
        "VMNET_CDROM": f"{cdrom},bus=sata",
        "VMNET_SHARE": str(shared),
        "VMNET_TPM": "on",
        "VMNET_VNC": f"unix:{tmp_path}/vnc",
        "VMNET_NIC_MODEL": "vmxnet3",
        "VMNET_MEMORY": "512M",
    }
    web = network.container("web")
    with machine.booted(web, **settings, **others, **ARM, **PATIENT) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        guest.process.signal(signal.SIGTERM)
        assert guest.process.wait(WAIT) == 0
    assert (state / "uefi-variables.fd").exists()


@pytest.mark.long
def test_a_network_comes_and_goes(network: Lan, machine: DemoVm) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web")
        with machine.booted(web, **ARM) as guest:
            guest.says("vmnet-guest# ")
            nic = second.attach(web, "eth1", gateway=False)
            guest.says(f"vmnet-guest: eth1 {nic.address}/24")
            second.host.ip("link", "delete", nic.port)
            guest.says("vmnet-guest: eth1 is gone")
