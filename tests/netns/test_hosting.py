"""vmnet does not take over the network of a host, even if the host is a container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.lab.net import ptp
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace, namespace
from tests.lab.net.services import web_server
from tests.lab.net.snapshot import require_same
from tests.netns.conftest import Vmnet
from vmnet.errors import CaptureError

Evidence = Callable[[Namespace, Path], AbstractContextManager[str]]


@contextmanager
def an_engine_without_containers(host: Namespace, _: Path) -> Iterator[str]:
    host.ip("link", "add", "docker0", "type", "bridge")
    host.ip("address", "add", "172.17.0.1/16", "dev", "docker0")
    yield "the bridge docker0 has the address 172.17.0.1/16"


@contextmanager
def a_network_whose_mac_looks_like_vmnets(host: Namespace, _: Path) -> Iterator[str]:
    """Docker 28 leaves a bridge's MAC to the kernel, which chooses at random."""
    host.ip("link", "add", "br-0a1b2c3d4e5f", "address", "06:01:02:03:04:05", "type", "bridge")
    host.ip("address", "add", "172.18.0.1/16", "dev", "br-0a1b2c3d4e5f")
    yield "the bridge br-0a1b2c3d4e5f has the address 172.18.0.1/16"


@contextmanager
def an_ipv6_bridge_with_a_container(host: Namespace, _: Path) -> Iterator[str]:
    host.sysctl(net__ipv6__conf__all__disable_ipv6=0)
    with namespace("pod") as pod:
        peer = ("peer", "name", "eth0", "netns", pod.name)
        host.ip("link", "add", "cni0", "type", "bridge")
        host.ip("address", "add", "fd00:17::1/64", "dev", "cni0", "nodad")
        host.ip("link", "set", "cni0", "up")
        host.ip("link", "add", "veth1", "master", "cni0", "type", "veth", *peer)
        yield "the bridge cni0 has the address fd00:17::1/64"


@contextmanager
def a_ptp_pod(host: Namespace, folder: Path) -> Iterator[str]:
    with namespace("pod") as pod:
        nic = ptp.attach(host, pod, folder / "ipam")
        yield f"{nic.port} leads to a container with the address {nic.address}"


@contextmanager
def a_calico_pod(host: Namespace, _: Path) -> Iterator[str]:
    with namespace("pod") as pod:
        peer = ("peer", "name", "eth0", "netns", pod.name)
        host.ip("link", "add", "cali1", "type", "veth", *peer)
        host.ip("link", "set", "cali1", "up")
        host.ip("route", "add", "10.65.0.7/32", "dev", "cali1", "scope", "link")
        yield "cali1 leads to a container with the address 10.65.0.7"


@contextmanager
def an_overlay(host: Namespace, _: Path) -> Iterator[str]:
    vxlan = ("type", "vxlan", "id", "1", "dstport", "8472", "dev", "eth0")
    host.ip("link", "add", "flannel.1", *vxlan)
    yield "flannel.1 connects it to other hosts"


@contextmanager
def a_kubelet(host: Namespace, _: Path) -> Iterator[str]:
    with web_server(host, port=10250):
        yield "a kubelet listens on port 10250"


EVIDENCE: tuple[Evidence, ...] = (
    an_engine_without_containers,
    a_network_whose_mac_looks_like_vmnets,
    an_ipv6_bridge_with_a_container,
    a_ptp_pod,
    a_calico_pod,
    an_overlay,
    a_kubelet,
)


@pytest.mark.parametrize("evidence", EVIDENCE, ids=lambda evidence: evidence.__name__)
def test_a_host_in_a_container_is_recognised(
    network: Lan, vmnet: Vmnet, tmp_path: Path, evidence: Evidence
) -> None:
    """The host's eth0 is like that of any container."""
    host = network.container("host")
    with evidence(host, tmp_path) as expected:
        before = host.dump()
        ended = vmnet(host, "run")
        require_same(before, host.dump())
        checked = vmnet(host, "check", "--json").json()
    assert ended.returncode == CaptureError.exit_code, ended.stderr
    assert f"this is a host's own network namespace, and a VM would cut it off: {expected}" in (
        ended.stderr
    )
    assert "VMNET_HOST_NETWORK=take" in ended.stderr
    (missing,) = (finding for finding in checked if finding["what"] == "network")
    assert (missing["result"], expected in missing["detail"]) == ("missing", True)


def test_vmnet_host_network_takes_over_a_host(network: Lan, vmnet: Vmnet, tmp_path: Path) -> None:
    host = network.container("host")
    with (
        an_engine_without_containers(host, tmp_path),
        vmnet.running(host, VMNET_HOST_NETWORK="take", VMNET_INTERFACES="eth0"),
    ):
        eth0 = host.link("eth0")
    assert eth0
    assert eth0["master"] == "br0"


def test_a_nic_that_the_container_bridges_itself_is_no_evidence(network: Lan, vmnet: Vmnet) -> None:
    """The other end of the NIC is in the same namespace as that of the uplink."""
    with lan(2, host=network.host) as second:
        web = network.container("web")
        second.attach(web, "eth1", gateway=False)
        web.ip("address", "flush", "dev", "eth1")
        web.ip("link", "add", "own0", "type", "bridge")
        web.ip("address", "add", "172.30.2.9/24", "dev", "own0")
        web.ip("link", "set", "eth1", "master", "own0")
        plan = vmnet(web, "plan", "--json")
    assert [nic["name"] for nic in plan.json()["identity"]["interfaces"]] == ["eth0"]


def test_pods_are_not_hosts(network: Lan, vmnet: Vmnet, tmp_path: Path) -> None:
    """Pods of CNI's ptp plugin and of Calico, each with an additional on-link route."""
    calico = network.container("calico", address="172.30.1.9/32", gateway=False)
    for route in ("169.254.1.1 dev eth0 scope link", "default via 169.254.1.1 dev eth0"):
        calico.ip("route", "add", *route.split())
    with namespace("host") as host, namespace("ptp") as pod:
        ptp.attach(host, pod, tmp_path / "ipam")
        for container in (calico, pod):
            container.ip("route", "add", "10.9.9.9/32", "dev", "eth0", "scope", "link")
            plan = vmnet(container, "plan")
            assert plan.returncode == 0, plan.stderr
