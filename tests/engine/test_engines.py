"""The same image and VM containers on other engines, and on an engine that fails."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.conftest import BOOT_SECONDS, NET_ADMIN, ROOT, VM, another
from tests.engine.test_restart import require_identity
from tests.lab import kustomize
from tests.lab.engines.podman import CRI_O, PODMAN, Container, Podman, podman
from tests.lab.net.namespace import namespace
from tests.lab.wait import WAIT, until
from tests.lab.web import fetch
from vmnet.errors import PrivilegeError
from vmnet.planning.capabilities import NEEDED

pytestmark = [pytest.mark.engine, pytest.mark.long]

BUTTON = "vmnet-guest: power button, shutting down"
TUN = ("--device", "/dev/net/tun")


def test_vms_survive_a_killed_engine_and_start_after_a_power_loss(saved: Path, image: str) -> None:
    with another(saved, image, {"live-restore": True}) as vms:
        assert vms.docker.daemon is not None
        vm = vms.start()
        kept = vms.start("--restart", "unless-stopped")
        require_identity(vms, vm)
        address, pid = vm.address(), vm.inspect()["State"]["Pid"]

        vms.docker.daemon.crash()
        assert vms.query(address, "identity")["interfaces"]
        vms.docker.daemon.start()
        assert vm.inspect()["State"]["Pid"] == pid
        require_identity(vms, vm)
        vm.stop()
        assert vm.wait() == 0
        assert BUTTON in vm.logs()

        vms.docker.docker("start", vm.id)
        require_identity(vms, vm)
        vms.docker.daemon.lose_power()
        vms.docker.daemon.start()
        assert not vm.running()
        until(kept.running, WAIT, "the engine to restart the container", detail=kept.logs)
        vms.docker.docker("start", vm.id)
        for container in (vm, kept):
            require_identity(vms, container)


def test_user_namespaces(saved: Path, image: str, tmp_path: Path) -> None:
    """Root in the container is an unprivileged user outside.

    In a user namespace, `--device` mounts the machine's device, whose mode may differ from udev's
    on a machine without udev. So the test mounts a device that it makes.
    """
    tun = tmp_path / "tun"
    os.mknod(tun, stat.S_IFCHR, os.makedev(10, 200))
    tun.chmod(0o666)
    with another(saved, image, {"userns-remap": "nobody:nogroup"}) as vms:
        vm = vms.start("-v", f"{tun}:/dev/net/tun", "--device-cgroup-rule", "c 10:200 rwm")
        vms.await_log(vm, "vmnet-guest: eth0 ")
        require_identity(vms, vm)
        uids = Path(f"/proc/{vm.inspect()['State']['Pid']}/status").read_text()
        assert "Uid:\t164055\t164055\t164055\t164055" in uids
        vm.stop()
        assert vm.wait() == 0
        assert BUTTON in vm.logs()

        refused = vms.docker.run(vms.image, options=NET_ADMIN, check=False)
        assert refused.returncode == PrivilegeError.exit_code, refused.stderr
        assert "--device /dev/net/tun" in refused.stderr


@pytest.mark.parametrize(
    ("current", "capabilities"), [(False, PODMAN), (True, CRI_O)], ids=["podman", "podman5-crio"]
)
def test_the_pod_on_podman(
    saved: Path, image: str, current: bool, capabilities: tuple[str, ...]
) -> None:
    """The file runs as it is, and adds the capabilities that it needs to the engine's.

    CRI-O grants some of Podman's, so Podman 5 runs the pod only with CRI-O's.
    """
    with (
        namespace("podman") as host,
        podman(host, saved, current=current, capabilities=capabilities) as engine,
    ):
        engine("tag", image, "registry.example/vmnet")
        vm = engine.play((kustomize.FOLDER / "base" / "pod.yaml").read_text(), "vm-vm")
        require_pod(engine, vm, kustomize.render())
        vm.stop(70)
        assert BUTTON in vm.logs()


def test_the_pods_of_kustomize_on_podman(saved: Path, image: str) -> None:
    """The StatefulSet's pod with two networks and a claim, and a pod of the level Baseline."""
    with namespace("podman") as host, podman(host, saved, current=True) as engine:
        engine("tag", image, "registry.example/vmnet:latest")
        # The demonstration guest has no disk, but a TPM has a state that must be kept.
        objects = kustomize.render("multus", "statefulset", settings={"VMNET_TPM": "on"})
        networks: list[str] = []
        for name, interface in (("pods", "eth0"), ("lan", "net1")):
            engine("network", "create", name)
            networks += ["--network", f"{name}:interface_name={interface}"]
        vm = engine.play(manifests(objects), "vm-0-vm", *networks)
        require_pod(engine, vm, objects)
        vm.stop(70)
        assert BUTTON in vm.logs()
        (volume,) = engine("volume", "inspect", "state-vm-0").json()
        assert list(Path(volume["Mountpoint"], "tpm").iterdir())

        objects = kustomize.render("passt")
        vm = engine.play(manifests(objects), "vm-vm")
        require_pod(engine, vm, objects)
        vm.stop(70)
        assert BUTTON in vm.logs()


def manifests(objects: list[dict[str, Any]]) -> str:
    """Return what Podman can run of the objects."""
    maps = [made for made in objects if made["kind"] == "ConfigMap"]
    return yaml.safe_dump_all([*maps, kustomize.as_pod(objects)])


def require_pod(engine: Podman, vm: Container, objects: list[dict[str, Any]]) -> None:
    """Require that the guest is the pod on each network, and that its startup probe succeeds.

    The container has exactly the capabilities that it adds, and its root is read-only.
    """
    until(lambda: "vmnet-guest: eth0 " in vm.logs(), BOOT_SECONDS, "a lease", detail=vm.report)
    pod = kustomize.as_pod(objects)
    infra = engine.infra(pod["metadata"]["name"]).inspect()
    networks = infra["NetworkSettings"]["Networks"].values()
    for network in networks:
        url = f"http://{network['IPAddress']}/cgi-bin/identity"
        found = fetch(engine.host.run, url).json()["interfaces"]
        assert {interface["mac"] for interface in found} == {
            network["MacAddress"] for network in networks
        }
    (container,) = pod["spec"]["containers"]
    probe = container["startupProbe"]["exec"]["command"]
    until(
        lambda: not engine("exec", vm.id, *probe, check=False).returncode,
        WAIT,
        "the startup probe to succeed",
        detail=vm.report,
    )
    status = engine("exec", vm.id, "cat", "/proc/self/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    added = container["securityContext"]["capabilities"]["add"]
    assert int(fields["CapBnd"], 16) == sum(1 << NEEDED[name].number for name in added)
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    refused = engine("exec", vm.id, "touch", "/file", check=False)
    assert "Read-only file system" in refused.stderr


def test_the_systemd_service_of_podman(saved: Path, image: str) -> None:
    """Podman's generator accepts deploy/podman/vm.container, and its commands run the VM."""
    with namespace("podman") as host, podman(host, saved, current=True) as engine:
        engine("tag", image, "registry.example/vmnet")
        service = engine.quadlet(ROOT / "deploy" / "podman" / "vm.container")
        assert int(service["TimeoutStopSec"]) > 70
        (start, stop) = (
            shlex.split(service[key].replace("%t", str(engine.folder)).replace("%N", "vm"))
            for key in ("ExecStart", "ExecStop")
        )
        assert {"net_admin", "net_raw", "/dev/net/tun"} < set(start)
        assert start[start.index("--stop-timeout") + 1] == "70"
        # Only systemd gives a service a control group that Podman can divide.
        start.remove("--cgroups=split")
        # ExecStop removes the container with its log, maybe before `podman logs` has read the end.
        log = engine.folder / "vm.log"
        options = start.index("run") + 1
        start[options:options] = (f"--log-opt=path={log}",)
        engine(*start[1:])
        vm = Container(engine, "vm")
        until(lambda: "vmnet-guest: eth0 " in vm.logs(), BOOT_SECONDS, "a lease", detail=vm.report)
        healthy = ("healthcheck", "run", "vm")
        until(
            lambda: not engine(*healthy, check=False).returncode,
            WAIT,
            "the health check to pass",
            detail=lambda: str(engine("exec", "vm", "vmnet", "health", check=False)),
        )
        engine(*stop[1:], timeout=70 + WAIT)
        # Each line: the time, the stream, F or P (full or partial), and the text.
        assert BUTTON in "".join(line.split(" ", 3)[3] for line in log.read_text().splitlines())


@pytest.mark.parametrize("current", [False, True], ids=["podman", "podman5"])
def test_a_network_with_ipv6_only(saved: Path, image: str, current: bool) -> None:
    """Podman's networks may have no IPv4. Docker's always have it until Docker 27."""
    with namespace("podman") as host, podman(host, saved, current=current) as engine:
        engine("network", "create", "--disable-dns", "--subnet", "fd00:214:6::/64", "six")
        capabilities = ("--cap-add", "NET_ADMIN,NET_RAW")
        options = ("--network", "six", *capabilities, *TUN, *VM)
        vm = engine.start(image, options=options)
        endpoint = vm.inspect()["NetworkSettings"]["Networks"]["six"]
        assert not endpoint["IPAddress"]
        address = endpoint["GlobalIPv6Address"]
        lease = f"vmnet-guest: eth0 {address}/128"
        until(lambda: lease in vm.logs(), BOOT_SECONDS, "a lease", detail=vm.report)
        url = f"http://[{address}]/cgi-bin/identity"
        (eth0,) = fetch(host.run, url).json()["interfaces"]
        assert (eth0["mac"], eth0["ipv4"]) == (endpoint["MacAddress"], [])
        assert eth0["ipv6"] == [f"{address}/128"]
        vm.stop()
        assert vm.wait() == 0
        assert BUTTON in vm.logs()


def test_podman_as_root(saved: Path, image: str) -> None:
    """Podman's containers have fewer capabilities than Docker's, and cannot create devices."""
    with namespace("podman") as host, podman(host, saved) as engine:
        options = (*NET_ADMIN, *VM)
        vm = engine.start(image, options=("--cap-add", "NET_RAW", *TUN, *options))
        until(lambda: "vmnet-guest: eth0 " in vm.logs(), BOOT_SECONDS, "a lease", detail=vm.report)
        settings = vm.inspect()["NetworkSettings"]
        (network,) = settings["Networks"].values()
        url = f"http://{network['IPAddress']}/cgi-bin/identity"
        (eth0,) = fetch(host.run, url).json()["interfaces"]
        assert eth0["mac"] == network["MacAddress"]
        assert eth0["ipv4"] == [f"{network['IPAddress']}/{network['IPPrefixLen']}"]
        vm.stop()
        assert vm.wait() == 0
        assert BUTTON in vm.logs()

        for granted, missing in (((), "NET_RAW"), (("--cap-add", "NET_RAW"), TUN[1])):
            refused = engine.run(image, options=(*options, *granted), check=False)
            assert refused.returncode == PrivilegeError.exit_code, refused.stderr
            assert missing in refused.stderr
