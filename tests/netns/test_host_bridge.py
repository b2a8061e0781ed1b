"""``vmnet host-bridge --check`` on a real host, configured correctly and incorrectly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.engines.dockerd import dockerd
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.netns.conftest import Vmnet

Break = Callable[[Namespace], object]


@pytest.fixture
def host(network: Lan) -> Namespace:
    """A machine with the configured layout: eth0 is in br0, and br0 has eth0's address."""
    machine = network.station("machine")
    machine.ip("address", "flush", "dev", "eth0")
    machine.ip("link", "add", "br0", "address", machine.mac, "type", "bridge", "stp_state", "0")
    machine.ip("link", "set", "eth0", "master", "br0")
    machine.ip("link", "set", "br0", "up")
    machine.ip("address", "add", f"{machine.address}/24", "dev", "br0")
    return machine


def findings(vmnet: Vmnet, host: Namespace, *arguments: str) -> dict[str, str]:
    """Return the worst result of each part, without Docker."""
    found = vmnet(host, "host-bridge", "--check", "--json", *arguments).json()
    parts: dict[str, str] = {}
    for finding in found:
        part = finding["what"]
        if part != "docker" and parts.get(part, "ok") == "ok":
            parts[part] = finding["result"]
    return parts


def test_a_correct_host(vmnet: Vmnet, host: Namespace) -> None:
    found = findings(vmnet, host)
    assert found.pop("iptables") in ("ok", "warning")  # depends on the machine's kernel
    assert set(found) == {"port", "address", "MAC", "forwarding"}
    assert set(found.values()) == {"ok"}


def _let_the_ports_choose_the_mac(host: Namespace) -> None:
    """Create the bridge without a MAC: it takes the NIC's, but only for now."""
    host.ip("link", "delete", "br0")
    host.ip("link", "add", "br0", "type", "bridge", "stp_state", "0")
    host.ip("link", "set", "eth0", "master", "br0")
    host.ip("link", "set", "br0", "up")
    host.ip("address", "add", f"{host.address}/24", "dev", "br0")


def _no_bridge(host: Namespace) -> None:
    host.ip("link", "delete", "br0")
    host.ip("link", "add", "br0", "type", "veth")


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
        (_let_the_ports_choose_the_mac, "MAC", "warning"),
        (lambda host: host.ip("link", "set", "eth0", "down"), "interface", "missing"),
        (lambda host: host.ip("link", "set", "br0", "down"), "interface", "missing"),
        (lambda host: host.ip("link", "set", "br0", "name", "br1"), "interface", "missing"),
        (_no_bridge, "bridge", "missing"),
        (
            lambda host: host.ip("link", "set", "br0", "type", "bridge", "stp_state", "1"),
            "forwarding",
            "warning",
        ),
        (lambda host: host.ip("link", "delete", "br0"), "interface", "missing"),
    ],
)
def test_each_fault_is_reported(
    vmnet: Vmnet, host: Namespace, damage: Break, part: str, result: str
) -> None:
    damage(host)
    assert findings(vmnet, host)[part] == result


def test_the_requested_address_is_compared(vmnet: Vmnet, host: Namespace) -> None:
    assert findings(vmnet, host, "--address", f"{host.address}/24")["address"] == "ok"
    assert findings(vmnet, host, "--address", "172.30.1.99/24")["address"] == "missing"


@pytest.mark.parametrize(("value", "result"), [(0, "ok"), (1, "warning")])
def test_bridged_frames_in_iptables(vmnet: Vmnet, host: Namespace, value: int, result: str) -> None:
    run("modprobe", "-q", "br_netfilter", check=False)  # it may be built in, or missing
    if not Path("/proc/sys/net/bridge").exists():
        pytest.skip("this kernel has no br_netfilter")
    host.sysctl(**{"net__bridge__bridge-nf-call-iptables": value})
    assert findings(vmnet, host)["iptables"] == result


@pytest.mark.engine
def test_docker_on_the_bridge(vmnet: Vmnet, host: Namespace, tmp_path: Path) -> None:
    """A real engine with the written daemon.json, and then with a second network."""
    present = tmp_path / "daemon.json"
    present.write_text('{"log-driver": "json-file", "dns": ["192.0.2.53"]}')
    options = ("--containers", "172.30.1.240/28", "--daemon-json", str(present), "--json")
    written = vmnet(host, "host-bridge", *options).json()["/etc/docker/daemon.json"]
    host.ip("link", "add", "br1", "type", "bridge")

    def docker_finding(bridge: str, socket: Path) -> tuple[str, str]:
        command = ("host-bridge", "--check", "--json", "--bridge", bridge)
        found = vmnet(host, *command, DOCKER_HOST=f"unix://{socket}").json()
        return next(
            (finding["result"], finding["detail"])
            for finding in found
            if finding["what"] == "docker"
        )

    assert docker_finding("br0", tmp_path / "none")[0] == "warning"
    with dockerd(host, written) as engine:
        assert docker_finding("br0", engine.socket) == ("ok", "br0 is Docker's network 'bridge'")
        assert docker_finding("br1", engine.socket) == ("missing", "Docker puts containers on br0")
        docker = ("docker", "--host", f"unix://{engine.socket}")
        (bridge,) = run(*docker, "network", "inspect", "bridge").json()
        (numbered,) = bridge["IPAM"]["Config"]
        assert (numbered["Subnet"], numbered["IPRange"]) == ("172.30.1.0/24", "172.30.1.240/28")
        name = "com.docker.network.bridge.name=br1"
        run(*docker, "network", "create", "-d", "bridge", "-o", name, "lan")
        assert docker_finding("br1", engine.socket) == ("ok", "br1 is Docker's network 'lan'")
