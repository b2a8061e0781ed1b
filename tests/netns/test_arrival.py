"""NICs that are added to the container after vmnet has started."""

from __future__ import annotations

from tests.lab.net.lan import Lan, lan
from tests.lab.wait import until
from tests.netns.conftest import VMNET, Vmnet, is_vm
from vmnet.errors import CaptureError


def test_a_start_waits_for_a_nic_that_comes_later(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", gateway=False)
    environ = {
        **vmnet.environ,
        "VMNET_INTERFACES": "eth0,eth1",
        "VMNET_INTERFACES_TIMEOUT": "50",
    }
    with (
        lan(2, host=network.host) as second,
        web.popen(*VMNET, "run", env=environ, pid=True) as run,
    ):
        until(lambda: "waiting 50 s for eth1" in run.output(), 20, "the wait", detail=run.output)
        assert not web.link("br0")
        second.attach(web, "eth1")
        until(lambda: is_vm(run), 20, "vmnet to become the VM", detail=run.output)
        masters = [link.get("master") for link in web.links() if link["ifname"] in ("eth0", "eth1")]
        assert {*masters} == {"br0", "br1"}


def test_the_wait_is_bounded(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    before = web.dump()
    ended = vmnet(web, "run", VMNET_INTERFACES="eth0,eth1", VMNET_INTERFACES_TIMEOUT="1")
    assert ended.returncode == CaptureError.exit_code
    assert "waiting 1 s for eth1" in ended.stderr
    assert "VMNET_INTERFACES=eth0,eth1: there is no interface eth1" in ended.stderr
    assert "set VMNET_INTERFACES_TIMEOUT to more than 1 seconds" in ended.stderr
    assert web.dump() == before
