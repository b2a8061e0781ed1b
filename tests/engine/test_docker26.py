"""The same tests on Docker 26, without its userland proxy.

Docker then makes each port of its bridges a hairpin: a container's broadcasts return to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine import test_container as container
from tests.engine import test_hotplug as hotplug
from tests.engine import test_macvlan as macvlan
from tests.engine import test_restart as restart
from tests.engine.conftest import Vms, another

pytestmark = [pytest.mark.engine, pytest.mark.long]


@pytest.fixture(scope="module")
def current(saved: Path, image: str) -> Iterator[Vms]:
    with another(saved, image, {"userland-proxy": False}, current=True) as vms:
        assert vms.docker.docker("version", "--format", "{{.Server.Version}}").stdout >= "26"
        yield vms


def test_a_port_of_the_bridge_is_a_hairpin(current: Vms) -> None:
    """Otherwise, the tests below show nothing about it."""
    plain = current.docker.start(current.image, "600", options=["--entrypoint", "sleep"])
    ports = current.docker.on_host("bridge", "-d", "-j", "link").json()
    assert [port["hairpin"] for port in ports if port.get("master") == "docker0"] == [True]
    plain.rm()


@pytest.mark.parametrize(
    "behaviour",
    [
        container.test_the_guest_has_the_container_s_identity,
        container.test_ipv6_on_a_dual_stack_network,
        container.test_a_read_only_root_and_a_restart,
        restart.test_a_namespace_that_outlives_the_container,
        hotplug.test_a_network_is_connected_and_disconnected,
        macvlan.test_a_guest_has_its_address_and_its_names,
    ],
    ids=lambda behaviour: behaviour.__name__.removeprefix("test_"),
)
def test_docker_26(current: Vms, behaviour: Callable[[Vms], None]) -> None:
    try:
        behaviour(current)
    finally:
        current.docker.remove()
