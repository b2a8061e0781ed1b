"""Real starts in a container's namespace: the guest gets the allocation, and vmnet releases it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab import waiting_vm
from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.command import Completed, Process, background
from tests.lab.ipam.cni import Lab, lab
from tests.lab.net.bridge_guest import guest
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import dnsmasq
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, network, vmnet
from vmnet.api import AllocationError, LaunchError

__all__ = ["lab", "network", "vmnet"]

FIRST = "172.30.1.100"


@pytest.fixture
def web(network: Lan, lab: Lab) -> Namespace:
    """A container, and a pool of its network's addresses."""
    ranges = [[{"subnet": "172.30.1.0/24", "rangeStart": FIRST, "rangeEnd": "172.30.1.110"}]]
    lab.host_local(ranges=ranges)
    return network.container("web")


@contextmanager
def running(vmnet: Vmnet, lab: Lab, web: Namespace, **settings: str) -> Iterator[Process]:
    """Run ``vmnet run`` within the context, and wait until the stand-in for QEMU runs."""
    environ = {**vmnet.environ, **lab.environ(), **settings}
    with web.popen(*VMNET, "run", env=environ, pid=True) as process:
        until(lambda: _has_vm(process, web), WAIT, "the VM to run", detail=process.output)
        yield process


def _has_vm(process: Process, web: Namespace) -> bool:
    process.require_running()
    return any(map(waiting_vm.waits, web.pids()))


def run(vmnet: Vmnet, lab: Lab, web: Namespace, **settings: str) -> Completed:
    return vmnet(web, "run", **{**lab.environ(), **settings})


def test_the_guest_gets_the_allocation_until_it_ends(
    network: Lan, web: Namespace, vmnet: Vmnet, lab: Lab
) -> None:
    station, before = network.station(), web.dump()
    with running(vmnet, lab, web) as process:
        assert lab.held() == [FIRST]
        with guest(web, "br0", web.mac) as vm:
            lease = udhcpc(vm)
            lease.configure(vm)
            assert str(lease.address) == f"{FIRST}/24"
            assert list(map(str, lease.routers)) == [network.gateway]
            station.run("ping", "-c1", "-W5", FIRST)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        output = process.output()
    assert f"allocated by cni: eth0 {FIRST}/24" in output
    assert lab.held() == []
    require_same(before, web.dump())


def test_cloudinit_can_deliver_it(web: Namespace, vmnet: Vmnet, lab: Lab) -> None:
    with running(vmnet, lab, web, VMNET_IPAM="cni,cloudinit"):
        seed = (lab.folder / "run" / "seed.iso").read_bytes()
    assert f"{FIRST}/24".encode() in seed
    assert f"{web.address}/24".encode() not in seed


def test_a_container_without_an_address_gets_one(web: Namespace, vmnet: Vmnet, lab: Lab) -> None:
    web.ip("address", "flush", "dev", "eth0")
    planned, checked = (vmnet(web, command, **lab.environ()) for command in ("plan", "check"))
    assert (
        "the container has no address, and cni allocates addresses only at a start"
        in planned.stderr
    )
    assert checked.returncode == 0, checked.stdout
    assert "has no address before a start allocates it" in checked.stdout
    with running(vmnet, lab, web), guest(web, "br0", web.mac) as vm:
        assert str(udhcpc(vm).address) == f"{FIRST}/24"


def test_a_start_that_fails_releases(web: Namespace, vmnet: Vmnet, lab: Lab) -> None:
    before = web.dump()
    ended = run(vmnet, lab, web, VMNET_QEMU="/nonexistent")
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    assert "allocated by cni" in ended.stderr
    assert lab.held() == []
    require_same(before, web.dump())


def test_the_next_start_releases_what_a_killed_start_allocated(
    web: Namespace, vmnet: Vmnet, lab: Lab
) -> None:
    """When PID 1 ends, the kernel kills every process in the container."""
    before = web.dump()
    with running(vmnet, lab, web) as process:
        process.signal(signal.SIGKILL)
        process.wait()
    assert lab.held() == [FIRST]
    ended = run(vmnet, lab, web, VMNET_IPAM="nodhcp", VMNET_QEMU="/nonexistent")
    assert "released by cni" in ended.stderr
    assert lab.held() == []
    require_same(before, web.dump())


def test_an_empty_pool_is_an_allocation_error(
    network: Lan, web: Namespace, vmnet: Vmnet, lab: Lab
) -> None:
    lab.host_local("172.30.1.8/30")
    with running(vmnet, lab, web):
        db = network.container("db")
        before = db.dump()
        ended = run(vmnet, lab, db, VMNET_RUN_DIR=str(lab.folder / "other"))
        assert ended.returncode == AllocationError.exit_code == 21
        assert re.search(
            r"^vmnet: error: host-local refuses ADD for eth0: failed to allocate for range 0: "
            r"no IP addresses available in range set: 172\.30\.1\.9-172\.30\.1\.10 \(code 999\)$",
            ended.stderr,
            re.MULTILINE,
        ), ended.stderr
        assert "Traceback" not in ended.stderr
        assert lab.held() == ["172.30.1.10"]
        require_same(before, db.dump())


def test_a_hanging_plugin_is_abandoned(web: Namespace, vmnet: Vmnet, lab: Lab) -> None:
    before = web.dump()
    lab.scripted("import time\nwhile command == 'ADD': time.sleep(60)")
    ended = run(vmnet, lab, web, VMNET_CNI_TIMEOUT="5")  # enough for VERSION and DEL
    assert ended.returncode == AllocationError.exit_code
    assert "did not answer ADD for eth0 within 5 s" in ended.stderr
    assert lab.commands() == ["ADD eth0", "DEL eth0"]
    require_same(before, web.dump())


def test_a_stop_during_the_allocation_releases(web: Namespace, vmnet: Vmnet, lab: Lab) -> None:
    lab.scripted("import time\nwhile command == 'ADD': time.sleep(60)")
    environ = {**vmnet.environ, **lab.environ()}
    with web.popen(*VMNET, "run", env=environ, pid=True) as process:
        until(lambda: lab.commands() == ["ADD eth0"], WAIT, "ADD", detail=process.output)
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
    assert lab.commands() == ["ADD eth0", "DEL eth0"]


def test_plan_reports_that_it_does_not_allocate(web: Namespace, vmnet: Vmnet, lab: Lab) -> None:
    planned = vmnet(web, "plan", **lab.environ())
    assert planned.returncode == 0, planned.stderr
    assert "cni allocates at a start, and was not called" in planned.stdout
    assert lab.held() == []


@contextmanager
def daemon(socket: Path) -> Iterator[Process]:
    """Run CNI's DHCP daemon on the host; it enters the container's namespace by its path."""
    options = ("-socketpath", socket, "-timeout", "3s")
    with background("/usr/lib/cni/dhcp", "daemon", *options) as process:

        def listens() -> bool:
            process.require_running()
            return socket.exists()

        until(listens, WAIT, "the daemon's socket", detail=process.output)
        yield process


def test_dhcp_leases_for_ever_and_releases(
    network: Lan, web: Namespace, vmnet: Vmnet, lab: Lab
) -> None:
    socket = lab.folder / "dhcp.sock"
    lab.network({"type": "dhcp", "daemonSocketPath": str(socket)})
    served = (f"--dhcp-range={FIRST},172.30.1.110,infinite", f"--interface={network.bridge}")
    settings = {"VMNET_CNI_NETNS": str(web.path)}
    with dnsmasq(network.host, *served, "--no-ping", port=0) as server, daemon(socket):
        with running(vmnet, lab, web, **settings) as process:
            leased = re.search(rf"DHCPACK\(\w+\) (\S+) {web.mac}", server.output())
            assert leased, server.output()
            assert "the dhcp plugin's daemon can't renew the lease" in process.output()
            with guest(web, "br0", web.mac) as vm:
                lease = udhcpc(vm)
            assert str(lease.address) == f"{leased[1]}/24"
            assert list(map(str, lease.routers)) == [network.gateway]
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
        released = f"DHCPRELEASE({network.bridge}) {leased[1]} {web.mac}"
        until(lambda: released in server.output(), WAIT, released, detail=server.output)
        assert server.output().count("DHCPACK(") == 1, "CHECK took out a second lease"


def test_dhcp_reports_its_missing_daemon(web: Namespace, vmnet: Vmnet, lab: Lab) -> None:
    lab.network({"type": "dhcp", "daemonSocketPath": str(lab.folder / "absent.sock")})
    ended = run(vmnet, lab, web)
    assert ended.returncode == AllocationError.exit_code
    assert "dhcp refuses ADD for eth0: error dialing DHCP daemon" in ended.stderr
    assert "check that `dhcp daemon` runs" in ended.stderr
