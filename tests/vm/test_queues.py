"""NICs with several queues."""

from __future__ import annotations

import json

import pytest

from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT, until
from tests.vm.conftest import DemoVm, ask

pytestmark = pytest.mark.vm


@pytest.mark.parametrize("strategy", ["bridge", "redirect"])
def test_the_guest_uses_all_queues(network: Lan, machine: DemoVm, strategy: str) -> None:
    web, station = network.container("web"), network.station()
    settings = {"VMNET_CPUS": "2", "VMNET_QUEUES": "2", "VMNET_BRIDGE": strategy}
    with lan(2, host=network.host) as second, machine.booted(web, **settings) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        until(lambda: _queues(web, "tap0") == (2, 0), WAIT, "the guest to use two queues")
        assert ask(station, web.address, "identity")["hostname"] == "web"
        nic = second.attach(web, "eth1", gateway=False)
        guest.says(f"vmnet-guest: eth1 {nic.address}/24")
        until(lambda: _queues(web, "tap1") == (2, 0), WAIT, "two queues of the further NIC")


def _queues(container: Namespace, tap: str) -> tuple[int, int]:
    """Return how many queues of a tap are in use, and how many are not."""
    (link,) = json.loads(container.ip("-details", "-json", "link", "show", tap).stdout)
    found = link["linkinfo"]["info_data"]
    return found["numqueues"], found.get("numdisabled", 0)
