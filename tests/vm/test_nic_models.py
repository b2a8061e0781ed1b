"""Models of NICs, as a guest sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.net.lan import Lan, lan
from tests.lab.net.pinging import require_every_answer
from tests.vm.conftest import DemoVm, ask, booting

pytestmark = pytest.mark.vm

_LISTER = Path(__file__).parent / "lister"
_IDENTITIES = {
    "virtio": "0x1af4:0x1000",
    "e1000": "0x8086:0x100e",
    "e1000e": "0x8086:0x10d3",
    "rtl8139": "0x10ec:0x8139",
    "vmxnet3": "0x15ad:0x07b0",
}


def test_a_vmxnet3_nic_has_the_containers_network(network: Lan, machine: DemoVm) -> None:
    """The guest learns the MTU from DHCP alone."""
    web, station = network.container("web", mtu=1450), network.station()
    with machine.booted(web, VMNET_NIC_MODEL="vmxnet3") as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24 via {network.gateway}")
        (eth0,) = ask(station, web.address, "identity")["interfaces"]
        # Longer than the guest needs to see that its NIC has been reset for the new MTU.
        largest = ("-M", "do", "-s", "1422")
        require_every_answer(station, web.address, *largest, count=30, interval=0.1)
        assert "the MTU of eth0 (vmxnet3, 1450 bytes)" in guest.output()
    assert (eth0["mac"], eth0["mtu"]) == (web.mac, 1450)


def test_each_nic_has_its_model_also_if_it_comes_later(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    models = "rtl8139,eth0=virtio,eth1=e1000e,eth2=vmxnet3,eth4=e1000"
    with lan(2, host=network.host) as second:
        web = network.container("web")
        for number in (1, 2, 3):
            second.attach(web, f"eth{number}", gateway=False)
        settings = booting(machine, _LISTER / "init", tmp_path)
        with machine.booted(web, **settings, VMNET_NIC_MODEL=models) as guest:
            for model in ("virtio", "e1000e", "vmxnet3", "rtl8139"):
                guest.says(f"lister: NIC {_IDENTITIES[model]}")
            assert "the container has no interface eth4 yet" in guest.output()
            second.attach(web, "eth4", gateway=False)
            guest.says("eth4 was connected")
            guest.says(f"lister: NIC {_IDENTITIES['e1000']}")
