"""The models of the guest's NICs."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmnet import testing
from vmnet.errors import MachineError
from vmnet.model.devices import Cdrom, Disk
from vmnet.model.firmware import Firmware
from vmnet.planning import nics
from vmnet.planning.booting import boot_order

BIOS = Firmware()
IDENTITY = testing.identity(
    testing.interface("10.0.0.2/24", mtu=1450),
    testing.interface("172.18.0.2/16", name="eth1"),
    testing.interface("172.19.0.2/16", name="eth2", mtu=1400),
)


def models(**environ: str) -> list[str]:
    found = nics.of(testing.settings(environ), IDENTITY, testing.wiring(IDENTITY))
    return [nic.model for nic in found]


def test_a_model_for_all_nics_and_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    assert models() == ["virtio", "virtio", "virtio"]
    assert not caplog.text
    chosen = models(VMNET_NIC_MODEL="rtl8139,eth1=e1000,eth2=virtio")
    assert chosen == ["rtl8139", "e1000", "virtio"]


def test_a_start_names_the_nics_that_cannot_announce_a_small_mtu(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    models(VMNET_NIC_MODEL="e1000")
    (line,) = caplog.messages
    assert "the MTU of eth0 (e1000, 1450 bytes), eth2 (e1000, 1400 bytes) as DHCP" in line


def test_a_model_for_an_interface_that_can_never_come_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    models(VMNET_NIC_MODEL="eth7=e1000")
    assert "VMNET_NIC_MODEL=eth7=e1000: the container has no interface eth7 yet" in caplog.text
    with pytest.raises(MachineError, match="the guest gets no interface eth7") as caught:
        models(VMNET_NIC_MODEL="eth7=e1000", VMNET_HOTPLUG="0")
    assert caught.value.hint == "the interfaces are eth0, eth1, eth2"


@pytest.mark.parametrize(
    ("environ", "places"),
    [
        ({}, [None, None, None]),
        ({"VMNET_BOOT": "network"}, [0, None, None]),
        ({"VMNET_BOOT": "network", "VMNET_KERNEL": "/vmlinuz"}, [None, None, None]),
    ],
)
def test_only_the_first_nic_boots(environ: dict[str, str], places: list[int | None]) -> None:
    found = nics.of(testing.settings(environ), IDENTITY, testing.wiring(IDENTITY))
    assert [nic.boot for nic in found] == places


def places(firmware: Firmware = BIOS, **environ: str) -> list[int | None]:
    """Return the places of three disks and CDs in the boot order, and of the first NIC."""
    settings = testing.settings(environ)
    devices = (Disk(Path("/a"), "raw"), Disk(Path("/b"), "raw", boot=1), Cdrom(Path("/c")))
    listed = [device.boot for device in boot_order.disks(settings, devices, firmware)]
    return [*listed, boot_order.network(settings)]


def test_every_bootable_device_has_a_place_if_the_network_has_one() -> None:
    assert places() == [None, 1, None, None]
    assert places(VMNET_BOOT="network") == [100, 1, 152, 0]
    assert places(VMNET_BOOT="network,disk") == [100, 1, 152, 0]
    assert places(VMNET_BOOT="disk,network") == [100, 1, 152, 200]


def test_uefi_does_not_try_the_network_by_itself() -> None:
    uefi = Firmware("uefi", "VMNET_FIRMWARE", Path("/OVMF/CODE.fd"))
    assert places(uefi) == [100, 1, 152, None]
