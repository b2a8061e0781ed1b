"""The ports for NICs that come while QEMU runs."""

from __future__ import annotations

import pytest
from vmnet_qemu.hotplug import ports


def test_the_ports_share_a_slot_and_have_numbers_of_their_own() -> None:
    assert list(ports(2, "q35")) == [
        *("-device", "pcie-root-port,id=port0,chassis=1,multifunction=on,addr=0x19.0"),
        *("-device", "pcie-root-port,id=port1,chassis=2,multifunction=on,addr=0x19.1"),
    ]


@pytest.mark.parametrize(("machine", "count"), [("virt", 2), ("pc", 0), ("pc-i440fx-7.2", 0)])
def test_only_machines_with_pci_express_have_ports(machine: str, count: int) -> None:
    assert list(ports(2, machine)).count("-device") == count
