"""A VM as a Swarm service: the overlay network's NIC and docker_gwbridge's, both the guest's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import BOOT_SECONDS, FETCH, Vms
from tests.lab.swarm import Swarm, swarm
from tests.lab.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.long]

PUBLISHED = 18080


@pytest.fixture
def cluster(vms: Vms, tmp_path: Path) -> Iterator[Swarm]:
    images = tmp_path / "images.tar"
    vms.docker.docker("save", "-o", images, vms.image, timeout=300)
    with swarm(images) as made:
        yield made


def test_a_service_on_an_overlay_network(vms: Vms, cluster: Swarm) -> None:
    """A container that comes later, on the other node, is found by name, and finds the guest."""
    first, second = cluster.nodes
    overlay = cluster.overlay("ov", "10.214.0.0/24")
    options = (
        *("--network", overlay, "--endpoint-mode", "dnsrr", "--cap-add", "NET_ADMIN"),
        *("--env", "VMNET_MEMORY=256M", "--hostname", "web", "--health-interval", "2s"),
        # Until it is healthy, Docker knows the task by no name, and so tells no network.
        *("--dns-search", overlay),
        *("--publish", f"mode=host,target=80,published={PUBLISHED}"),
    )
    vm = cluster.service("vm", first, vms.image, options)
    own = vm.inspect()["NetworkSettings"]["Networks"][overlay]
    outward = first.engine.inspect("docker_gwbridge")
    way_out = outward["Containers"][vm.id]
    (gateway,) = (one["Gateway"] for one in outward["IPAM"]["Config"])
    vms.says(vm, f"vmnet-guest: eth0 {own['IPAddress']}/24")
    vms.says(vm, f"vmnet-guest: eth1 {way_out['IPv4Address']} via {gateway}")

    plan = json.loads(vm.exec("vmnet", "plan", "--json").stdout)
    assert plan["identity"]["resolver"]["search"] == [overlay]
    pages = f"http://{first.machine.address}:{PUBLISHED}/cgi-bin"
    identity = second.machine.run("curl", "-sSf", "-m20", f"{pages}/identity").json()
    eth0, eth1 = identity["interfaces"]
    assert (eth0["mac"], eth0["mtu"]) == (own["MacAddress"], 1450)
    assert eth0["ipv4"] == [f"{own['IPAddress']}/24"]
    assert (eth1["mac"], eth1["mtu"]) == (way_out["MacAddress"], 1500)
    assert eth1["ipv4"] == [way_out["IPv4Address"]]
    (default,) = (one for one in identity["routes"] if one.startswith("default "))
    assert default.split()[:5] == ["default", "via", gateway, "dev", "eth1"]

    peer = second.engine.start(
        vms.image,
        *("-m", "http.server", "80"),
        options=["--network", overlay, "--name", "peer", "--entrypoint", "python3"],
    )
    found = second.machine.run("curl", "-sSf", "-m20", f"{pages}/lookup?name=peer").json()
    assert found["addresses"] == [peer.address(overlay)]

    def asked() -> str:
        return peer.exec("python3", "-c", FETCH, "http://vm/", check=False).stdout

    page = until(asked, BOOT_SECONDS, "the service's name, which it has once it is healthy")
    assert own["IPAddress"] in page
    assert len(page) > eth0["mtu"]  # segments as large as the overlay takes
    peer.rm()
