"""A VM pod on containerd, driven through Kubernetes' runtime interface (CRI)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen

from tests.engine.conftest import BOOT_SECONDS, ROOT
from tests.lab import kustomize
from tests.lab.engines.cri.containerd import PAUSE, Containerd, busybox, containerd
from tests.lab.engines.cri.interface import DeadlineError, Json
from tests.lab.engines.cri.networks import (
    CALICO,
    bridge,
    calico,
    macvlan,
    network,
    portmap,
    ptp,
)
from tests.lab.engines.cri.pods import Container, Pod
from tests.lab.engines.cri.streams import attach, forward
from tests.lab.engines.docker import Engine
from tests.lab.images import pause
from tests.lab.net.namespace import Namespace, namespace
from tests.lab.wait import WAIT, until
from tests.lab.web import fetch

pytestmark = [pytest.mark.engine, pytest.mark.long]

BUTTON = "vmnet-guest: power button, shutting down"
SHELL = "This is a root shell"
RESTORED = "restoring the network that a start left in this namespace"
NETWORKS = {
    "bridge": [network("bridge", bridge("cni0", "10.215.1.0/24"))],
    "hairpin": [
        network(
            "hairpin",
            bridge("cni1", "10.215.2.0/24", "fd00:215:2::/64", hairpinMode=True, ipMasq=True),
            portmap(),
        )
    ],
    "ptp": [network("ptp", ptp("10.215.3.0/24", "fd00:215:3::/64"), portmap())],
    "macvlan": [network("macvlan", macvlan("uplink", "10.215.4.0/24"))],
    "calico": [network("calico", calico("10.215.5.9"))],
    "two": [
        network("two", bridge("cni2", "10.215.6.0/24")),
        network("second", bridge("cni3", "10.215.7.0/24", default=False)),
    ],
}
"""By the name of the runtime class, the network of each of the pod's interfaces."""
HOST_PORTS = {"hairpin": 8082, "ptp": 8083}


@pytest.fixture(scope="module")
def runtime(
    docker: Engine, saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containerd]:
    archive = tmp_path_factory.mktemp("pause") / "pause.tar"
    pause.save(docker, PAUSE, archive)
    with (
        namespace("node") as node,
        containerd(node, (archive, saved), NETWORKS, [CALICO]) as made,
    ):
        # The parent of macvlans does not reach them: another interface on its network does.
        node.ip("link", "add", "uplink", "type", "veth", "peer", "name", "lan")
        node.ip("address", "add", "10.215.4.1/24", "dev", "lan")
        for name in ("uplink", "lan"):
            node.ip("link", "set", name, "up")
        # Without a default route, a node would not answer in the place of Calico's gateway.
        node.ip("route", "add", "default", "dev", "lan")
        yield made


@pytest.fixture(scope="module")
def manifest(image: str) -> Json:
    """The pod of deploy/kubernetes, with the image of this test run."""
    pod: Json = yaml.safe_load((kustomize.FOLDER / "base" / "pod.yaml").read_text())
    pod["spec"]["containers"][0]["image"] = f"docker.io/{image}:latest"
    return pod


def identity(node: Namespace, address: str, port: int = 80) -> Any:
    """Return what the guest at an address reports of itself, when it answers."""
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{port}/cgi-bin/identity"
    return fetch(node.run, url).json()


def require_identity(pod: Pod, vm: Container, mac: str) -> None:
    """Fail unless the guest answers with the MAC and address that CNI gave to the pod."""
    leased = f"vmnet-guest: eth0 {pod.address}/"
    until(lambda: leased in vm.logs(), BOOT_SECONDS, "a lease", detail=vm.logs)
    (eth0,) = identity(pod.runtime.node, pod.address)["interfaces"]
    assert eth0["mac"] == mac
    assert eth0["ipv4"] == [f"{pod.address}/24"]


def await_probe(vm: Container, manifest: Json) -> None:
    """Run the pod's liveness probe, with its time limit, until it succeeds."""
    (spec,) = (found for found in manifest["spec"]["containers"] if found["name"] == "vm")
    probe = spec["livenessProbe"]

    def succeeds() -> bool:
        try:
            ended = vm.exec(*probe["exec"]["command"], timeout=probe["timeoutSeconds"], check=False)
        except DeadlineError:
            return False
        return not ended.returncode

    until(succeeds, WAIT, "the probe to succeed", detail=vm.logs)


def test_the_life_of_a_pod(runtime: Containerd, manifest: Json) -> None:
    """Probes, a crash, a stop, a new sandbox for the same volumes, and a lost run directory."""
    pod = Pod(runtime, manifest, "bridge")
    pod.run()
    mac = pod.interface()["address"]
    vm = pod.start()
    require_identity(pod, vm, mac)
    await_probe(vm, manifest)
    with pytest.raises(DeadlineError):
        vm.exec("sleep", "infinity", timeout=1)

    vm.kill()
    assert vm.wait() == 128 + 9
    again = pod.start()
    require_identity(pod, again, mac)
    assert RESTORED in again.logs()
    await_probe(again, manifest)

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

    # Without the volume, only the network namespace knows the pod's network.
    new.kill()
    new.wait()
    (spec,) = manifest["spec"]["containers"]
    writable = {**spec["securityContext"], "readOnlyRootFilesystem": False}
    bare = pod.start(securityContext=writable, volumeMounts=[])
    require_identity(pod, bare, mac)
    assert RESTORED in bare.logs()
    pod.remove()
    assert runtime.allocated("bridge") == []


@frozen
class Vm:
    """A pod and its VM.

    :param given: by the name of each interface, its MAC and addresses before the VM's start
    """

    pod: Pod
    container: Container
    given: dict[str, tuple[str, set[str]]]

    def boot(self) -> None:
        """Wait for the guest's shell."""
        logs = self.container.logs
        until(lambda: SHELL in logs(), BOOT_SECONDS, "the guest's shell", detail=logs)

    def require_given(self, address: str) -> None:
        """Fail unless the guest reports what was given, at one of its addresses."""
        until(  # IPv6 arrives later than IPv4
            lambda: self._received(address) == self.given,
            WAIT,
            f"the guest at {address} to have {self.given}",
            detail=lambda: str(self._received(address)),
        )

    def _received(self, address: str) -> dict[str, tuple[str, set[str]]]:
        """Return what the guest reports, without prefixes, which may be longer than the pod's."""
        return {
            nic["name"]: (nic["mac"], {text.split("/")[0] for text in (*nic["ipv4"], *nic["ipv6"])})
            for nic in identity(self.pod.runtime.node, address)["interfaces"]
        }


@pytest.fixture(scope="module")
def vms(runtime: Containerd, manifest: Json) -> Iterator[dict[str, Vm]]:
    """A VM on each network, all of which boot at the same time."""
    names = [name for name in NETWORKS if name != "bridge"]
    made = {name: start(runtime, manifest, name) for name in names}
    for vm in made.values():
        vm.boot()
    yield made
    for vm in made.values():
        vm.pod.remove()


def start(runtime: Containerd, manifest: Json, name: str) -> Vm:
    """Start a pod, and record what CNI gave it before the VM has it."""
    pod = Pod(runtime, variant(manifest, name), name)
    pod.run()
    given = {}
    for number in range(len(NETWORKS[name])):
        nic = pod.interface(f"eth{number}")
        addresses = {found["local"] for found in nic["addr_info"] if found["scope"] == "global"}
        given[nic["ifname"]] = (nic["address"], addresses)
    for init in pod.manifest["spec"].get("initContainers", ()):
        assert pod.start(init["name"]).wait() == 0
    return Vm(pod, pod.start("vm"), given)


def variant(manifest: Json, name: str) -> Json:
    """Return a network's pod. The pod on ptp has an init container and a container with a port."""
    changed = copy.deepcopy(manifest)
    spec = changed["spec"]
    (vm,) = spec["containers"]
    if name in HOST_PORTS:
        vm["ports"][0]["hostPort"] = HOST_PORTS[name]
    if name == "ptp":
        vm["env"].append({"name": "VMNET_KEEP_PORTS", "value": "9000"})
        spec["initContainers"] = [busybox("init", "ping", "-c", "1", "-W", str(WAIT), "10.215.3.1")]
        spec["containers"].append(busybox("web", "httpd", "-f", "-p", "9000", "-h", "/etc"))
    return changed


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "bridge"])
def test_the_guest_has_what_cni_gave_to_the_pod(vms: dict[str, Vm], name: str) -> None:
    """The node reaches it at each address."""
    vm = vms[name]
    for _, addresses in vm.given.values():
        for address in addresses:
            vm.require_given(address)


@pytest.mark.parametrize(("name", "gateway"), [("hairpin", "10.215.2.1"), ("ptp", "10.215.3.1")])
def test_a_host_port(vms: dict[str, Vm], name: str, gateway: str) -> None:
    """The node reaches it, and the guest itself, if the network has hairpin mode."""
    vm = vms[name]
    found = identity(vm.pod.runtime.node, gateway, HOST_PORTS[name])["interfaces"]
    assert [nic["mac"] for nic in found] == [vm.given["eth0"][0]]
    with attach(vm.pod.runtime, vm.container.id) as console:
        url = f"http://{gateway}:{HOST_PORTS[name]}/cgi-bin/identity"
        console.send(b"\n")
        console.read(b"vmnet-guest# ")
        console.send(f"wget -qO- {url}; echo done=$?\n".encode())
        answer = console.read(b"done=0")
    assert vm.given["eth0"][0].encode() in answer


def test_a_forwarded_port_and_other_containers(vms: dict[str, Vm]) -> None:
    """127.0.0.1 in the pod is the guest, except for the ports that the container keeps."""
    vm = vms["ptp"]
    runtime, node, mac = vm.pod.runtime, vm.pod.runtime.node, vm.given["eth0"][0]
    page = "/cgi-bin/identity"
    assert identity(node, vm.pod.address)
    with forward(runtime, vm.pod.sandbox, 80) as port:
        port.send(f"GET {page} HTTP/1.0\r\n\r\n".encode())
        assert mac.encode() in port.read()

    web = vm.pod.start("web")
    wget = ("/bin/busybox", "wget", "-qO-")
    assert mac in web.exec(*wget, f"http://127.0.0.1{page}").stdout
    kept = f"http://{vm.pod.address}:9000/hosts"
    assert "Kubernetes-managed" in fetch(node.run, kept).stdout
    with forward(runtime, vm.pod.sandbox, 9000) as port:
        port.send(b"GET /hosts HTTP/1.0\r\n\r\n")
        assert b"Kubernetes-managed" in port.read()

    target = {"targetContainerId": vm.container.id}
    debug = vm.pod.launch(busybox("debug", "sleep", "infinity", **target))
    assert "qemu-system-x86_64" in debug.exec("/bin/busybox", "ps").stdout
    assert mac in debug.exec(*wget, f"http://127.0.0.1{page}").stdout
    debug.kill()
    await_probe(vm.container, vm.pod.manifest)


def test_removed_pods_leave_nothing(vms: dict[str, Vm]) -> None:
    """CNI finds masquerade rules by the addresses that the guest has: a script deletes those."""
    for vm in vms.values():
        runtime, node = vm.pod.runtime, vm.pod.runtime.node
        vm.pod.remove()
    assert [runtime.allocated(network) for network in NETWORKS] == [[]] * len(NETWORKS)
    own = {"lo", "lan", "uplink", "cni0", "cni1", "cni2", "cni3"}

    def left() -> set[str]:
        return {link["ifname"] for link in node.links()} - own

    # The kernel removes the interfaces of a namespace some time after the namespace.
    until(lambda: not left(), WAIT, "the pods' interfaces to go", detail=lambda: str(left()))
    node.run("sh", ROOT / "deploy" / "cni-masquerade.sh", runtime.folder / "cni" / "networks")
    for program in ("iptables-save", "ip6tables-save"):
        rules = runtime.run(program, "-t", "nat").stdout
        assert "10.215." not in rules
        assert "fd00:215:" not in rules
