"""NICs that are added to the container after vmnet has started."""

from __future__ import annotations

import time

from tests.lab.net.lan import Lan, lan
from tests.lab.wait import WAIT, until
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
        until(lambda: "waiting 50 s for eth1" in run.output(), WAIT, "the wait", detail=run.output)
        assert not web.link("br0")
        second.attach(web, "eth1")
        until(lambda: is_vm(run), WAIT, "vmnet to become the VM", detail=run.output)
        masters = [link.get("master") for link in web.links() if link["ifname"] in ("eth0", "eth1")]
        assert {*masters} == {"br0", "br1"}


def test_a_start_waits_until_a_nic_is_set_up(network: Lan, vmnet: Vmnet) -> None:
    """An engine sets a NIC up before it adds its addresses and routes."""
    web = network.container("web", gateway=False)
    with lan(2, host=network.host) as second:
        second.attach(web, "eth1", gateway=False)
        address = web.addresses("eth1")[0]["local"]
        web.ip("address", "flush", "dev", "eth1")
        web.ip("link", "set", "eth1", "down")
        environ = {**vmnet.environ, "VMNET_INTERFACES": "eth0,eth1"}
        environ["VMNET_INTERFACES_TIMEOUT"] = "50"
        with web.popen(*VMNET, "plan", "--json", env=environ, pid=True) as plan:
            until(lambda: "waiting 50 s for eth1" in plan.output(), WAIT, "the wait")
            # A single program, because a busy machine may start others late.
            with web.popen("ip", "-batch", "-", pipe=True) as ip:
                for command in (
                    "link set eth1 up",
                    f"address add {address}/24 dev eth1",
                    "route add 10.9.0.0/16 dev eth1",
                ):
                    ip.stdin.write(f"{command}\n".encode())
                    time.sleep(0.05)  # much less than the time that vmnet waits for changes
                ip.stdin.close()
                assert ip.wait() == 0, ip.output()
            until(lambda: "10.9.0.0/16" in plan.output(), WAIT, "the plan", detail=plan.output)
            assert f'"{address}/24"' in plan.output()


def test_the_wait_is_bounded(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    before = web.dump()
    ended = vmnet(web, "run", VMNET_INTERFACES="eth0,eth1", VMNET_INTERFACES_TIMEOUT="1")
    assert ended.returncode == CaptureError.exit_code
    assert "waiting 1 s for eth1" in ended.stderr
    assert "VMNET_INTERFACES=eth0,eth1: there is no interface eth1" in ended.stderr
    assert "set VMNET_INTERFACES_TIMEOUT to more than 1 seconds" in ended.stderr
    assert web.dump() == before
