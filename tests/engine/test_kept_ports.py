"""On a real engine, ports of the container next to those of the guest, published alike."""

from __future__ import annotations

import pytest

from tests.engine.conftest import FETCH, Vms
from tests.lab.wait import WAIT, until
from tests.lab.web import fetch

pytestmark = [pytest.mark.engine, pytest.mark.long]


def test_published_ports_of_the_container_and_of_the_guest(vms: Vms) -> None:
    """The container has only the capabilities that its start needs, and runs a service by exec."""
    vm = vms.start(
        *("-e", "VMNET_KEEP_PORTS=8006", "-e", "VMNET_LOCALHOST=on"),
        *("-p", "127.0.0.1::8006", "-p", "127.0.0.1::80"),
    )
    until(
        lambda: vm.exec("test", "-e", "/run/vmnet/vm.json", check=False).returncode == 0,
        WAIT,
        "the VM",
    )
    vm.exec("python3", "-m", "http.server", "8006", "-d", "/usr/share/vmnet", options=["-d"])
    kept = f"http://127.0.0.1:{vm.port('8006/tcp')}/"
    # Most likely, the guest has not booted yet.
    assert "demo/" in fetch(vms.docker.on_host, kept).stdout
    vms.await_log(vm, f"vmnet-guest: eth0 {vm.address()}/")
    published = f"127.0.0.1:{vm.port('80/tcp')}"
    identity = vms.query(published, "identity")
    assert identity == vms.query(vm.address(), "identity")
    assert "demo/" in fetch(vms.docker.on_host, kept).stdout
    localhost = vm.exec("python3", "-c", FETCH, "http://127.0.0.1/cgi-bin/identity").stdout
    assert identity["hostname"] in localhost
