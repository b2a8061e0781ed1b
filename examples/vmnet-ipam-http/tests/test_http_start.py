"""``vmnet run`` in the namespaces of containers, with the real server behind their gateway."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import pycdlib
import pytest
import yaml

from tests.lab import waiting_vm
from tests.lab.command import Completed, Process
from tests.lab.ipam.http import TOKEN, Site
from tests.lab.net.lan import lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.vm.conftest import VMNET
from vmnet.api import AllocationError, LaunchError, SettingsError


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    hypervisor, kernel = waiting_vm.write(tmp_path), tmp_path / "vmlinuz"
    kernel.touch()
    with lan() as network:
        yield Site.made(
            network,
            tmp_path,
            VMNET_QEMU=str(hypervisor),
            VMNET_KERNEL=str(kernel),
            VMNET_GUARD="off",
        )


@contextmanager
def starting(container: Namespace, environ: Mapping[str, str]) -> Iterator[Process]:
    with container.popen(*VMNET, "run", env=environ, pid=True) as process:
        yield process


def await_vm(container: Namespace, process: Process) -> None:
    """Wait until the stand-in for QEMU runs, in addition to the supervisor."""

    def runs() -> bool:
        process.require_running()
        return any(map(waiting_vm.waits, container.pids()))

    until(runs, WAIT, "the VM to run", interval=0.2, detail=process.output)


def run(container: Namespace, environ: Mapping[str, str]) -> Completed:
    """Run a start that must end by itself."""
    return container.run(*VMNET, "run", env=environ, check=False, pid=True, timeout=WAIT)


def leased(run_dir: Path) -> str:
    """Return the address that dnsmasq leases to the guest."""
    (address,) = re.findall(r"^dhcp-host=.*?,(\d+\.\d+\.\d+\.\d+)", _conf(run_dir), re.MULTILINE)
    assert isinstance(address, str)
    return address


def _conf(run_dir: Path) -> str:
    return (run_dir / "dnsmasq.conf").read_text()


def test_from_the_service_to_dnsmasq_and_back(site: Site) -> None:
    web = site.network.container("web")
    before = web.dump()
    with site.service() as server, starting(web, site.settings(server.url)) as process:
        await_vm(web, process)
        assert list(server.allocated()) == ["172.30.1.129"]
        assert leased(site.run_dir()) == "172.30.1.129"
        process.signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        assert server.is_empty()
        assert TOKEN not in process.output()
    require_same(before, web.dump())
    assert not (site.run_dir() / "ipam-http.json").exists()
    assert not (site.run_dir() / "allocations.json").exists()


def test_from_the_service_to_a_seed(site: Site) -> None:
    """A second NIC gets its own address and no default route."""
    web = site.network.container("web")
    with lan(2, host=site.network.host) as second, site.service() as server:
        second.attach(web, "eth1", gateway=False)
        environ = site.settings(server.url, VMNET_IPAM="http,cloudinit")
        with starting(web, environ) as process:
            await_vm(web, process)
            iso, config = pycdlib.PyCdlib(), BytesIO()
            iso.open(str(site.run_dir() / "seed.iso"))
            iso.get_file_from_iso_fp(config, joliet_path="/network-config")
            iso.close()
            seeded = {
                nic["match"]["macaddress"]: (nic["addresses"], nic.get("routes"))
                for nic in yaml.safe_load(config.getvalue())["ethernets"].values()
            }
            default = [{"to": "0.0.0.0/0", "via": site.network.gateway}]
            assert seeded == {
                web.nic("eth0").mac: (["172.30.1.129/24"], default),
                web.nic("eth1").mac: (["172.30.1.130/24"], None),
            }
            process.signal(signal.SIGTERM)
            assert process.wait(WAIT) == 0
        assert server.is_empty()


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"VMNET_QEMU": "/absent"}, LaunchError, "VMNET_QEMU=/absent"),
        ({"VMNET_HTTP_CA": "/absent"}, AllocationError, "VMNET_HTTP_CA=/absent"),
        ({"VMNET_HTTP_URL": ""}, SettingsError, "VMNET_HTTP_URL is not set"),
        (
            {"VMNET_HTTP_URL": "https://172.30.1.1:1", "VMNET_HTTP_RETRIES": "0"},
            AllocationError,
            "Connection refused",
        ),
    ],
)
def test_a_start_that_fails_leaves_nothing(
    settings: dict[str, str], error: type[AllocationError], text: str, site: Site
) -> None:
    web = site.network.container("web")
    before = web.dump()
    with site.service() as server:
        ended = run(web, {**site.settings(server.url), **settings})
        assert ended.returncode == error.exit_code, ended.stderr
        assert text in ended.stderr
        assert "hint:" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert server.is_empty()
    require_same(before, web.dump())


def test_an_empty_pool_stops_the_start(site: Site) -> None:
    first, second = (site.network.container(name) for name in ("first", "second"))
    with site.service(pool="172.30.1.128/32") as server:
        with starting(first, site.settings(server.url, "first")) as process:
            await_vm(first, process)
            ended = run(second, site.settings(server.url, "second"))
            assert ended.returncode == AllocationError.exit_code, ended.stderr
            assert "409 pool exhausted: all addresses of 172.30.1.128/32 are in use" in ended.stderr
            assert len(server.allocated()) == 1
            process.signal(signal.SIGTERM)
            assert process.wait(WAIT) == 0
        assert server.is_empty()
        with starting(second, site.settings(server.url, "second")) as process:
            await_vm(second, process)
            assert len(server.allocated()) == 1


def test_the_next_start_releases_if_the_service_is_down_at_the_end(site: Site) -> None:
    web = site.network.container("web")
    with site.service() as server:
        environ = site.settings(server.url, VMNET_HTTP_RETRIES="0")
        port = server.url.rpartition(":")[2]
        with starting(web, environ) as process:
            await_vm(web, process)
            server.process.stop()
            process.signal(signal.SIGTERM)
            assert process.wait(WAIT) == 0, "the status is the machine's"
            assert "not released: what http may have allocated" in process.output()
        assert list(server.allocated()) == ["172.30.1.129"]
    again = run(web, environ)
    assert again.returncode == AllocationError.exit_code
    assert "Connection refused" in again.stderr
    with site.service(port=int(port)) as server, starting(web, environ) as process:
        await_vm(web, process)
        assert len(server.allocated()) == 1
        process.signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        assert server.is_empty()


def test_a_signal_ends_a_start_that_waits_for_the_service(site: Site) -> None:
    """The request is still under way, and may arrive after the release."""
    web = site.network.container("web")
    with site.service() as server:
        server.process.signal(signal.SIGSTOP)
        try:
            with starting(web, site.settings(server.url)) as process:
                claim = site.run_dir() / "ipam-http.json"
                until(claim.exists, WAIT, "the claim", detail=process.output)
                process.signal(signal.SIGTERM)
                interrupted = "interrupted by SIGTERM during the start"
                until(lambda: interrupted in process.output(), WAIT, "the end of the start")
                server.process.signal(signal.SIGCONT)
                assert process.wait(WAIT) == 128 + signal.SIGTERM
        finally:
            server.process.signal(signal.SIGCONT)
        assert not claim.exists()
        assert server.is_empty()


def test_a_start_that_is_killed_anywhere_leaks_nothing(site: Site) -> None:
    """vmnet records an allocation on disk first, so the next start releases it."""
    moments = random.Random(7)
    web = site.network.container("web")
    with site.service() as server:
        environ = site.settings(server.url)
        for _ in range(8):
            with starting(web, environ) as process:
                time.sleep(moments.uniform(0.1, 1.6))
                process.signal(signal.SIGKILL)  # kills its PID namespace, like `docker kill`
                process.wait(WAIT)
            assert len(server.allocated()) <= 1
        with starting(web, environ) as process:
            await_vm(web, process)
            assert len(server.allocated()) == 1
            process.signal(signal.SIGTERM)
            assert process.wait(WAIT) == 0
        assert server.is_empty()


@pytest.mark.parametrize("count", [16, pytest.param(100, marks=pytest.mark.long)])
def test_concurrent_vms_get_different_addresses(site: Site, count: int) -> None:
    """All VMs run at the same time; eight start at the same time."""
    containers = [site.network.container(f"vm{number}") for number in range(count)]
    with site.service() as server, ExitStack() as running:

        def start(container: Namespace) -> Process:
            environ = site.settings(server.url, container.label)
            process = running.enter_context(starting(container, environ))
            await_vm(container, process)
            return process

        with ThreadPoolExecutor(8) as starters:
            processes = list(starters.map(start, containers))
        allocated = server.allocated()
        assert len(allocated) == len(set(allocated.values())) == count
        guests = {leased(site.run_dir(container.label)) for container in containers}
        assert guests == set(allocated)

        for process in processes:
            process.signal(signal.SIGTERM)
        assert {process.wait(WAIT) for process in processes} == {0}
        assert server.is_empty()
