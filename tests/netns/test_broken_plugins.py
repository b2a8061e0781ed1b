"""Real starts with third-party plugins that hang or misbehave: vmnet names and undoes them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.lab.command import Completed
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet
from tests.unit.test_discovery import distribution
from vmnet.errors import LaunchError, PluginError

HEAD = """\
import os, sys, time
from pathlib import Path
from vmnet.model.delivery import Delivery
from vmnet.hookspecs import hookimpl
"""
IPAM = f"{HEAD}@hookimpl\ndef vmnet_ipam_deliver(settings, identity, wiring):\n    "
# A common retry loop: `except Exception` must not block the start.
BLOCK = """
    while True:
        try:
            time.sleep(1000)
        except Exception:
            pass
"""
BRIDGE = f"""{HEAD}
from vmnet.strategies.bridge import plan as bridge
vmnet_bridge_plan = bridge.vmnet_bridge_plan
BROKEN = Path(__file__).with_name("restore-is-broken")

@hookimpl
def vmnet_bridge_build(settings, wiring):
    bridge.vmnet_bridge_build(settings, wiring)
    {BLOCK}

@hookimpl
def vmnet_bridge_restore(settings, wiring):
    if BROKEN.exists():
        {indent(BLOCK, "    ")}
    return bridge.vmnet_bridge_restore(settings, wiring)
"""
ALLOCATING = f"""{HEAD}
STORE = Path(__file__).with_name("allocated")

@hookimpl
def vmnet_ipam_allocate(settings, identity):
    STORE.touch()
    {BLOCK}

@hookimpl
def vmnet_ipam_release(settings, identity):
    STORE.unlink(missing_ok=True)
"""
LAUNCHING = f"""{HEAD}
import os
import vmnet_qemu
vmnet_launch_command = vmnet_qemu.vmnet_launch_command

@hookimpl
def vmnet_launch(settings, command):
    EXIT(0)
"""


# A thread that ends only with the process, and for which a regular exit of Python would wait.
LEAVING = f"""{HEAD}
import threading

def leave():
    threading.Thread(target=time.sleep, args=(600,)).start()

leave()
@hookimpl
def vmnet_ipam_deliver(settings, identity, wiring):
    leave()
    return Delivery("slow")
"""


@pytest.fixture
def web(network: Lan) -> Namespace:
    return network.container("web", ipv6=True, routes=("10.1.0.0/16 via 172.30.1.1 metric 50",))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def install(site: Path, source: str) -> None:
    (site / "vmnet_slow.py").write_text(source)
    if not list(site.glob("*.dist-info")):
        distribution(site, "vmnet-slow", "[vmnet]\nslow = vmnet_slow\n", version="2.1")


def start(vmnet: Vmnet, web: Namespace, site: Path, source: str, **settings: str) -> Completed:
    install(site, source)
    given = {"VMNET_HOOK_TIMEOUT": "4", "PYTHONPATH": str(site), **settings}
    return vmnet(web, "run", **given)


def require_blamed(ended: Completed, fault: str) -> None:
    """Check that the error names the plugin, its distribution and version, and the exit code."""
    assert ended.returncode == PluginError.exit_code, ended.stderr
    assert f"plugin slow (vmnet-slow 2.1) {fault}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (f"{HEAD}{dedent(BLOCK)}", "can't be imported: it did not return within 4 s"),
        (f"{IPAM}{BLOCK}", "failed in vmnet_ipam_deliver: it did not return within 4 s"),
        (f"{IPAM}sys.exit(0)", "failed in vmnet_ipam_deliver: SystemExit: 0"),
        (f"{IPAM}return 'dnsmasq'", "returned str from vmnet_ipam_deliver"),
        (f"{IPAM}os.close(2)", "closed file descriptor 2, which it did not open"),
    ],
    ids=["import", "block", "exit", "type", "close"],
)
def test_a_failure_during_planning_changes_nothing(
    source: str, fault: str, web: Namespace, vmnet: Vmnet, site: Path
) -> None:
    before = web.dump()
    require_blamed(start(vmnet, web, site, source, VMNET_IPAM="slow"), fault)
    require_same(before, web.dump())
    assert not (vmnet.run_dir / "state.json").exists()


def test_a_hook_that_hangs_after_network_changes_is_undone(
    web: Namespace, vmnet: Vmnet, site: Path
) -> None:
    before = web.dump()
    ended = start(vmnet, web, site, BRIDGE, VMNET_BRIDGE="slow")
    require_blamed(ended, "failed in vmnet_bridge_build: it did not return within 4 s")
    assert "the network is as it was before the start" in ended.stderr
    require_same(before, web.dump())
    assert not (vmnet.run_dir / "state.json").exists()


def test_the_next_start_restores_if_a_restore_hangs(
    web: Namespace, vmnet: Vmnet, site: Path
) -> None:
    """The start reports the failure and keeps the saved state."""
    before = web.dump()
    (site / "restore-is-broken").touch()
    ended = start(vmnet, web, site, BRIDGE, VMNET_BRIDGE="slow")
    require_blamed(ended, "failed in vmnet_bridge_build")
    assert "the network could not be restored: plugin slow (vmnet-slow 2.1) failed" in ended.stderr
    assert (vmnet.run_dir / "state.json").exists()
    assert web.link("br0"), "the bridge is gone"

    (site / "restore-is-broken").unlink()
    require_blamed(start(vmnet, web, site, BRIDGE, VMNET_BRIDGE="slow"), "failed in")
    require_same(before, web.dump())
    assert not (vmnet.run_dir / "state.json").exists()


@pytest.mark.parametrize(("call", "said"), [("sys.exit", "0"), ("os._exit", "os._exit(0)")])
def test_a_launch_that_exits_is_undone(
    web: Namespace, vmnet: Vmnet, site: Path, call: str, said: str
) -> None:
    before = web.dump()
    ended = start(vmnet, web, site, LAUNCHING.replace("EXIT", call), VMNET_LAUNCH="slow")
    require_blamed(ended, f"failed in vmnet_launch: SystemExit: {said}")
    require_same(before, web.dump())


def test_an_allocation_that_hangs_is_released(web: Namespace, vmnet: Vmnet, site: Path) -> None:
    before = web.dump()
    ended = start(vmnet, web, site, ALLOCATING, VMNET_IPAM="slow")
    require_blamed(ended, "failed in vmnet_ipam_allocate: it did not return within 4 s")
    require_same(before, web.dump())
    assert not (site / "allocated").exists()
    assert not (vmnet.run_dir / "allocations.json").exists()


def test_a_release_that_hangs_stays_on_record(web: Namespace, vmnet: Vmnet, site: Path) -> None:
    source = ALLOCATING.replace("    STORE.unlink(missing_ok=True)\n", BLOCK)
    before = web.dump()
    ended = start(vmnet, web, site, source, VMNET_IPAM="slow")
    require_blamed(ended, "failed in vmnet_ipam_release: it did not return within 4 s")
    require_same(before, web.dump())
    (kept,) = json.loads((vmnet.run_dir / "allocations.json").read_text())["allocations"]
    assert kept["strategy"] == "slow"


def test_output_of_a_plugin_does_not_break_json(web: Namespace, vmnet: Vmnet, site: Path) -> None:
    source = f"{IPAM}print('hello')\n    return Delivery('slow')\n"
    start(vmnet, web, site, source, VMNET_IPAM="slow", VMNET_KERNEL="/absent")
    planned = vmnet(web, "plan", "--json", PYTHONPATH=str(site), VMNET_IPAM="slow")
    assert json.loads(planned.stdout)["deliveries"][0]["strategy"] == "slow"
    assert "plugin slow (vmnet-slow 2.1) printed: hello" in planned.stderr


def test_a_thread_of_a_plugin_does_not_prevent_a_start(
    web: Namespace, vmnet: Vmnet, site: Path
) -> None:
    """Such a thread does not block the signals that test the guard's alarm."""
    install(site, LEAVING)
    settings = {"PYTHONPATH": str(site), "VMNET_IPAM": "slow", "VMNET_GUARD": "on"}
    with vmnet.running(web, **settings) as process:
        process.signal(signal.SIGTERM)
        pressing = "vmnet: guard: SIGTERM: pressing the guest's power button"
        until(lambda: pressing in process.output(), WAIT, pressing, detail=process.output)


def test_a_thread_of_a_plugin_does_not_prevent_a_failed_start_from_ending(
    web: Namespace, vmnet: Vmnet, site: Path
) -> None:
    before = web.dump()
    broken = site / "broken"
    broken.write_bytes(b"\x7fELF but not really")
    broken.chmod(0o755)
    ended = start(
        vmnet, web, site, LEAVING, VMNET_IPAM="slow", VMNET_GUARD="on", VMNET_QEMU=str(broken)
    )
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    assert f"can't execute {broken}" in ended.stderr
    require_same(before, web.dump())
    planned = vmnet(web, "plan", "--json", PYTHONPATH=str(site), VMNET_IPAM="slow")
    assert json.loads(planned.stdout)["deliveries"][0]["strategy"] == "slow"
