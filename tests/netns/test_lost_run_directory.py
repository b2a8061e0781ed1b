"""A container is killed, and its run directory goes with it; its network namespace stays."""

from __future__ import annotations

import shutil
import signal

import pytest

from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.snapshot import Json, require_same
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet
from tests.netns.test_hotplug import CONNECTED, running
from tests.netns.test_kept_ports import tables
from tests.netns.test_names import ON_LOOPBACK
from vmnet.errors import BridgeError, LaunchError
from vmnet.net.namespace_record import TABLE

RESTORED = "restoring the network that a start left in this namespace"
NONE: dict[str, str] = {}
KEPT = {"VMNET_KEEP_PORTS": "8006", "VMNET_LOCALHOST": "on"}


@pytest.mark.parametrize("settings", [NONE, KEPT], ids=["plain", "kept ports"])
def test_the_next_start_has_the_same_result(
    vmnet: Vmnet, web: Namespace, chosen: dict[str, str], settings: dict[str, str]
) -> None:
    """With a resolver on loopback, the container has a device on the network as well."""
    (web.etc / "resolv.conf").write_text(ON_LOOPBACK)
    before = web.dump()
    identity = _identity(vmnet, web, **chosen, **settings)
    _run_and_lose(vmnet, web, **chosen, **settings)
    assert _identity(vmnet, web, **chosen, **settings) == identity, "plan reads the copy"
    with vmnet.running(web, **chosen, **settings) as process:
        assert RESTORED in process.output()
        assert _identity(vmnet, web, **chosen, **settings) == identity
    shutil.rmtree(vmnet.run_dir)
    ended = vmnet(web, "run", VMNET_QEMU="/nonexistent", **chosen)
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    require_same(before, web.dump())
    assert tables(web) == ""


def test_a_network_that_came_later_is_restored_as_well(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web")
        with running(vmnet, web) as (process, _):
            late = second.attach(web, "eth1", gateway=False)
            until(lambda: CONNECTED in process.output(), WAIT, CONNECTED, detail=process.output)
            process.signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(vmnet.run_dir)
        with vmnet.running(web) as process:
            assert f"eth1: the guest gets MAC {late.mac} and {late.address}/24" in process.output()


def test_a_blocked_nic_is_handed_over(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web")
        with vmnet.running(web) as process:
            late = second.attach(web, "eth1", gateway=False)
            until(
                lambda: "vmnet blocks it" in process.output(),
                WAIT,
                "eth1 to be blocked",
                detail=process.output,
            )
            process.signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(vmnet.run_dir)
        with vmnet.running(web) as process:
            assert f"eth1: the guest gets MAC {late.mac} and {late.address}/24" in process.output()


def test_the_file_comes_first(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    before = web.dump()
    with vmnet.running(web):
        pass
    web.run("nft", "flush", "chain", "ip", TABLE, "saved")
    ended = vmnet(web, "run", VMNET_QEMU="/nonexistent")
    assert RESTORED in ended.stderr
    require_same(before, web.dump())
    assert tables(web) == ""


@pytest.mark.parametrize("rule", ["", 'comment "0102030405060708"', 'comment "not hexadecimal"'])
def test_without_file_and_copy_the_error_names_the_remedy(
    network: Lan, vmnet: Vmnet, rule: str
) -> None:
    """Another container of the pod has changed the copy, or the kernel has no nftables."""
    web = network.container("web")
    _run_and_lose(vmnet, web)
    web.run("nft", "flush", "chain", "ip", TABLE, "saved")
    if rule:
        web.run("nft", "add", "rule", "ip", TABLE, "saved", "counter", *rule.split(" ", 1))
    left = web.dump()
    ended = vmnet(web, "run")
    assert ended.returncode == BridgeError.exit_code, ended.stderr
    assert "eth0 is already a port of the bridge br0" in ended.stderr
    assert "mount a volume at VMNET_RUN_DIR" in ended.stderr
    assert ("is ignored" in ended.stderr) == bool(rule)
    require_same(left, web.dump())


def _run_and_lose(vmnet: Vmnet, web: Namespace, **settings: str) -> None:
    """Run a VM, kill it, and remove its run directory."""
    with vmnet.running(web, **settings) as process:
        process.signal(signal.SIGKILL)
        process.wait()
    shutil.rmtree(vmnet.run_dir)


def _identity(vmnet: Vmnet, web: Namespace, **settings: str) -> Json:
    planned: Json = vmnet(web, "plan", "--json", **settings).json()["identity"]
    return planned
