"""A VM pod on containerd, driven through Kubernetes' runtime interface (CRI)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.conftest import BOOT_SECONDS
from tests.lab import kustomize
from tests.lab.engines.cri import networks
from tests.lab.engines.cri.containerd import PAUSE, Containerd, containerd
from tests.lab.engines.cri.interface import DeadlineError, Json
from tests.lab.engines.cri.pods import Container, Pod
from tests.lab.engines.docker import Engine
from tests.lab.images import pause
from tests.lab.net.namespace import namespace
from tests.lab.wait import WAIT, until

pytestmark = [pytest.mark.engine, pytest.mark.long]

BUTTON = "vmnet-guest: power button, shutting down"
RESTORED = "restoring the network that a start left in this namespace"
NETWORKS = {
    "bridge": [networks.network("bridge", networks.bridge("cni0", "10.215.1.0/24"))],
}


@pytest.fixture(scope="module")
def runtime(
    docker: Engine, saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containerd]:
    archive = tmp_path_factory.mktemp("pause") / "pause.tar"
    pause.save(docker, PAUSE, archive)
    with (
        namespace("node") as node,
        containerd(node, (archive, saved), NETWORKS, [networks.CALICO]) as made,
    ):
        yield made


@pytest.fixture
def manifest(image: str) -> Json:
    """The pod of deploy/kubernetes, with the image of this test run."""
    pod: Json = yaml.safe_load((kustomize.FOLDER / "base" / "pod.yaml").read_text())
    pod["spec"]["containers"][0]["image"] = f"docker.io/{image}:latest"
    return pod


def identity(pod: Pod) -> Any:
    """Return what the guest at the pod's address reports of itself, when it answers."""
    url = f"http://{pod.address}/cgi-bin/identity"
    curl = ("curl", "-sSf", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", "-m20")
    return pod.runtime.node.run(*curl, url, timeout=WAIT).json()


def require_identity(pod: Pod, vm: Container, mac: str) -> None:
    """Fail unless the guest answers with the MAC and address that CNI gave to the pod."""
    leased = f"vmnet-guest: eth0 {pod.address}/"
    until(lambda: leased in vm.logs(), BOOT_SECONDS, "a lease", detail=vm.logs)
    (eth0,) = identity(pod)["interfaces"]
    assert eth0["mac"] == mac
    assert eth0["ipv4"] == [f"{pod.address}/24"]


def probe(vm: Container) -> bool:
    """Run the health check as a probe with kubelet's default time limit."""
    try:
        return not vm.exec("vmnet", "health", timeout=1, check=False).returncode
    except DeadlineError:
        return False


def test_the_life_of_a_pod(runtime: Containerd, manifest: Json) -> None:
    """Probes, a crash, a stop, and a new sandbox for the same volumes."""
    pod = Pod(runtime, manifest, "bridge")
    pod.run()
    mac = pod.interface()["address"]
    vm = pod.start()
    require_identity(pod, vm, mac)
    until(lambda: probe(vm), WAIT, "the probe", detail=vm.logs)
    with pytest.raises(DeadlineError):
        vm.exec("sleep", "infinity", timeout=1)

    vm.kill()
    assert vm.wait() == 128 + 9
    again = pod.start()
    require_identity(pod, again, mac)
    assert RESTORED in again.logs()
    until(lambda: probe(again), WAIT, "the probe", detail=again.logs)

    again.stop(pod.grace)
    assert again.wait() == 0
    assert BUTTON in again.logs()
    pod.remove()
    assert runtime.allocated("bridge") == []

    # A node that was restarted makes a new sandbox. The volumes of the pod remain.
    pod.run()
    mac = pod.interface()["address"]
    new = pod.start()
    require_identity(pod, new, mac)
    assert RESTORED not in new.logs()
    pod.remove()
    assert runtime.allocated("bridge") == []
    assert [port["ifname"] for port in runtime.node.links()] == ["lo", "cni0"]
