"""``vmnet host-bridge --check`` looks at a real host, whole and broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.namespace import Namespace
from tests.lab.netns import Lan
from tests.netns.conftest import Vmnet

Break = Callable[[Namespace], object]


@pytest.fixture
def host(network: Lan) -> Namespace:
    """A machine whose eth0 is in br0, which has its address, as the host's configuration says."""
    machine = network.station("machine")
    machine.ip("address", "flush", "dev", "eth0")
    machine.ip("link", "add", "br0", "address", machine.mac, "type", "bridge", "stp_state", "0")
    machine.ip("link", "set", "eth0", "master", "br0")
    machine.ip("link", "set", "br0", "up")
    machine.ip("address", "add", f"{machine.address}/24", "dev", "br0")
    return machine


def findings(vmnet: Vmnet, host: Namespace) -> dict[str, str]:
    """The result of each part; Docker can't be asked in a namespace, and is left out."""
    found = vmnet(host, "host-bridge", "--check", "--json").json()
    return {one["what"]: one["result"] for one in found if one["what"] != "docker"}


def test_a_host_as_it_should_be(vmnet: Vmnet, host: Namespace) -> None:
    found = findings(vmnet, host)
    assert found.pop("iptables") in ("ok", "warning")  # the machine's kernel decides
    assert set(found) == {"port", "address", "MAC", "forwarding"}
    assert set(found.values()) == {"ok"}


@pytest.mark.parametrize(
    ("damage", "part", "result"),
    [
        (lambda host: host.ip("link", "set", "eth0", "nomaster"), "port", "missing"),
        (lambda host: host.ip("address", "flush", "dev", "br0"), "address", "missing"),
        (
            lambda host: host.ip("address", "add", "192.0.2.1/24", "dev", "eth0"),
            "address",
            "missing",
        ),
        (
            lambda host: host.ip("link", "set", "br0", "address", "02:00:00:00:00:09"),
            "MAC",
            "warning",
        ),
        (
            lambda host: host.ip("link", "set", "br0", "type", "bridge", "stp_state", "1"),
            "forwarding",
            "warning",
        ),
        (lambda host: host.ip("link", "delete", "br0"), "interface", "missing"),
    ],
)
def test_what_is_wrong_is_named(
    vmnet: Vmnet, host: Namespace, damage: Break, part: str, result: str
) -> None:
    damage(host)
    assert findings(vmnet, host)[part] == result
