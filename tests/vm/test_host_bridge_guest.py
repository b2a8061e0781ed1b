"""A guest on the host's own network, and a guest that plays the host."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace, namespace
from tests.lab.net.services import dnsmasq
from tests.lab.wait import WAIT, until
from tests.vm.conftest import DemoVm, ask
from tests.vm.debian_guest import Shell, booted, debian_guest

MAC = "02:42:ac:11:00:07"
_STATIC = "172.30.1.150/24"
_IP = "ip -color=never"


@pytest.mark.vm
@pytest.mark.long
def test_a_guest_keeps_its_lease_over_a_renewal(network: Lan, machine: DemoVm) -> None:
    """The host's eth0 and the container are ports of br0; the lease lasts two minutes."""
    host, beyond = network.station("machine"), network.station("neighbour")
    given = ("--dhcp-range=172.30.1.150,172.30.1.150,2m", f"--interface={network.bridge}")
    with namespace("web") as container, dnsmasq(network.host, *given, port=0) as server:
        _plug_into_the_hosts_bridge(host, container)
        with machine.booted(container, NO_DHCP="true") as guest:
            guest.says("vmnet-guest: eth0 172.30.1.150/24")
            assert ask(beyond, "172.30.1.150", "identity")["interfaces"][0]["mac"] == MAC
            until(
                lambda: server.output().count(f"DHCPACK({network.bridge}) 172.30.1.150") >= 2,
                2 * WAIT,  # after one minute, and then after some more
                "the lease to be renewed",
                detail=server.output,
            )
            identity = ask(beyond, "172.30.1.150", "identity")
    assert identity["interfaces"][0]["ipv4"] == ["172.30.1.150/24"]


@pytest.mark.vm
@pytest.mark.long
def test_a_host_with_netplan_moves_to_its_bridge_and_back(network: Lan, tmp_path: Path) -> None:
    """Under systemd, with an admin's commands. tests/netns/test_host_systems.py tests a revert."""
    settings = {**debian_guest().settings(), "NO_DHCP": "true"}
    container = network.container("host")
    way = f"default via {network.gateway}"
    with booted(container, tmp_path, settings) as host:
        nic = host.ask("basename /sys/class/net/e*").strip()
        installed = (
            f"network: {{version: 2, ethernets: {{{nic}: {{addresses: [{_STATIC}], "
            f"routes: [{{to: default, via: {network.gateway}}}]}}}}}}"
        )
        host.ask(f"umask 077; echo '{installed}' >/etc/netplan/50-cloud-init.yaml")
        host.ask("netplan apply")
        _await_address(host, nic)
        own = ("--nic", nic, "--mac", container.mac, "--address", _STATIC)
        options = (*own, "--gateway", network.gateway, "--format", "netplan", "--no-docker")
        printed = run(sys.executable, "-m", "vmnet", "host-bridge", *options).stdout
        encoded = base64.b64encode(printed.encode()).decode()
        for start in range(0, len(encoded), 500):
            host.ask(f"printf %s {encoded[start : start + 500]} >>br0.base64")
        host.ask("base64 -d br0.base64 >br0.sh")
        assert "switching" in host.ask("sh br0.sh try 600")
        _await_address(host, "br0")
        assert "the change is kept" in host.ask("sh br0.sh keep")
        assert "master br0" in host.ask(f"{_IP} link show {nic}")
        # networkd adds routes after the addresses, and configures one interface after the other.
        _await(host, "the bridge's route", lambda: f"{way} dev br0" in host.ask(f"{_IP} route"))
        alone = lambda: "inet " not in host.ask(f"{_IP} -4 address show dev {nic}")  # noqa: E731
        _await(host, f"{nic} to have no address", alone)
        host.await_answer(network.gateway)
        host.ask("sh br0.sh undo")
        _await_address(host, nic)
        over = lambda: "no try is under way" in host.ask("sh br0.sh keep 2>&1")  # noqa: E731
        _await(host, "the end of the revert", over)
        assert "does not exist" in host.ask(f"{_IP} link show br0 2>&1")
        assert host.ask("cat /etc/netplan/50-cloud-init.yaml").strip() == installed


def _await_address(host: Shell, interface: str) -> None:
    command = f"{_IP} -4 -o address show dev {interface} 2>&1"
    _await(host, f"{interface} to have its address", lambda: _STATIC in host.ask(command))


def _await(host: Shell, what: str, state: Callable[[], bool]) -> None:
    shown = f"{_IP} address; {_IP} route; networkctl --no-pager; cat /var/lib/vmnet/*.log"
    until(state, 180, what, interval=1, detail=lambda: host.ask(shown))


def _plug_into_the_hosts_bridge(host: Namespace, container: Namespace) -> None:
    host.ip("address", "flush", "dev", "eth0")
    host.ip("link", "add", "br0", "address", host.mac, "type", "bridge", "stp_state", "0")
    host.ip("link", "set", "eth0", "master", "br0")
    host.ip("link", "set", "br0", "up")
    host.ip("address", "add", f"{host.address}/24", "dev", "br0")
    end = ("peer", "name", "eth0", "address", MAC, "netns", container.name)
    host.ip("link", "add", "vmport", "type", "veth", *end)
    host.ip("link", "set", "vmport", "master", "br0", "up")
    container.ip("link", "set", "eth0", "up")
