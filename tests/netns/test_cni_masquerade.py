"""The script for a node deletes the masquerade rules that CNI leaves behind for VM pods."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.lab.net import ptp
from tests.lab.net.namespace import Namespace, namespace
from tests.netns.conftest import Vmnet

SCRIPT = Path(__file__).parents[2] / "deploy" / "cni-masquerade.sh"


def rules(node: Namespace) -> dict[str, str]:
    """Return the node's NAT rules by the program that lists them."""
    programs = ("iptables", "ip6tables")
    return {program: node.run(program, "-w", "-t", "nat", "-S").stdout for program in programs}


def test_only_the_rules_of_removed_pods_are_deleted(vmnet: Vmnet, tmp_path: Path) -> None:
    """CNI finds a pod's rules by the addresses of its interface, which the guest has."""
    store = tmp_path / "networks"
    with namespace("node") as node, namespace("web") as web, namespace("db") as db:
        for pod in (web, db):
            ptp.attach(node, pod, store, masquerade=True)
        with vmnet.running(web) as vm:
            vm.signal(signal.SIGKILL)
        ptp.detach(node, web, store, masquerade=True)
        assert all(web.name in listed for listed in rules(node).values())
        deleted = node.run("sh", SCRIPT, store).stdout.splitlines()
        assert len(deleted) == 2
        for listed in rules(node).values():
            assert web.name not in listed
            assert db.name in listed
            assert listed.count("-N CNI-") == 1
        assert node.run("sh", SCRIPT, store).stdout == ""


def test_addresses_of_a_pod_that_share_a_chain(vmnet: Vmnet, tmp_path: Path) -> None:
    store = tmp_path / "networks"
    with namespace("node") as node, namespace("web") as web:
        ptp.attach(node, web, store, masquerade=True, further=("10.248.0.0/24",))
        with vmnet.running(web) as vm:
            vm.signal(signal.SIGKILL)
        ptp.detach(node, web, store, masquerade=True)
        assert rules(node)["iptables"].count("-A POSTROUTING") == 2
        deleted = node.run("sh", SCRIPT, store).stdout.splitlines()
        assert len(deleted) == 3
        assert not any("CNI-" in listed for listed in rules(node).values())


def test_a_node_without_rules(tmp_path: Path) -> None:
    with namespace("node") as node:
        assert node.run("sh", SCRIPT, tmp_path).stdout == ""
