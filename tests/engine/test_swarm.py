"""A VM as a Swarm service has NICs on the overlay network and on docker_gwbridge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import BOOT_SECONDS, FETCH, Vms
from tests.lab.engines.swarm import Swarm, swarm
from tests.lab.wait import until
from tests.lab.web import fetch

pytestmark = [pytest.mark.engine, pytest.mark.long]

PUBLISHED = 18080


@pytest.fixture
def cluster(saved: Path) -> Iterator[Swarm]:
    with swarm(saved) as made:
        yield made


def test_a_service_on_an_overlay_network(vms: Vms, cluster: Swarm) -> None:
    """The guest and a later container on the other node reach each other by name."""
    first, second = cluster.nodes
    overlay = cluster.overlay("ov", "10.214.0.0/24")
    options = (
        *("--network", overlay, "--endpoint-mode", "dnsrr", "--cap-add", "NET_ADMIN"),
        *("--env", "VMNET_MEMORY=256M", "--hostname", "web", "--health-interval", "2s"),
        # The Swarm replaces an unhealthy task, such as one whose guest answers late three times.
        *("--health-retries", "100"),
        # Docker's DNS knows the task, and so the network's name, only when the task is healthy.
        *("--dns-search", overlay),
        *("--publish", f"mode=host,target=80,published={PUBLISHED}"),
    )
    vm = cluster.service("vm", first, vms.image, options)
    endpoint = vm.inspect()["NetworkSettings"]["Networks"][overlay]
    gwbridge = first.engine.inspect("docker_gwbridge")
    gwbridge_endpoint = gwbridge["Containers"][vm.id]
    (gateway,) = (config["Gateway"] for config in gwbridge["IPAM"]["Config"])
    vms.await_log(vm, f"vmnet-guest: eth0 {endpoint['IPAddress']}/24")
    vms.await_log(vm, f"vmnet-guest: eth1 {gwbridge_endpoint['IPv4Address']} via {gateway}")

    plan = json.loads(vm.exec("vmnet", "plan", "--json").stdout)
    assert plan["identity"]["resolver"]["search"] == [overlay]
    pages = f"http://{first.machine.address}:{PUBLISHED}/cgi-bin"
    identity = fetch(second.machine.run, f"{pages}/identity").json()
    eth0, eth1 = identity["interfaces"]
    assert (eth0["mac"], eth0["mtu"]) == (endpoint["MacAddress"], 1450)
    assert eth0["ipv4"] == [f"{endpoint['IPAddress']}/24"]
    assert (eth1["mac"], eth1["mtu"]) == (gwbridge_endpoint["MacAddress"], 1500)
    assert eth1["ipv4"] == [gwbridge_endpoint["IPv4Address"]]
    (default,) = (route for route in identity["routes"] if route.startswith("default "))
    assert default.split()[:5] == ["default", "via", gateway, "dev", "eth1"]

    peer = second.engine.start(
        vms.image,
        *("-m", "http.server", "80"),
        options=["--network", overlay, "--name", "peer", "--entrypoint", "python3"],
    )

    def found() -> list[str]:
        lookup = fetch(second.machine.run, f"{pages}/lookup?name=peer").json()
        return list(lookup["addresses"])

    # The first node learns the name from the other one some time after the container's start.
    until(lambda: found() == [peer.address(overlay)], BOOT_SECONDS, "the name of a later container")

    def page_of_guest() -> str:
        return peer.exec("python3", "-c", FETCH, "http://vm/", check=False).stdout

    page = until(page_of_guest, BOOT_SECONDS, "the service's name, which resolves once healthy")
    assert endpoint["IPAddress"] in page
    assert len(page) > eth0["mtu"]  # the page needs segments of the overlay's full size
    peer.rm()
