"""Run pods and their containers on containerd, as a kubelet does."""

from __future__ import annotations

import base64
import json
import uuid
from collections import Counter
from pathlib import Path

from attrs import define, field, frozen

from ...command import Argument, Completed
from ...wait import WAIT, until
from . import manifest
from .containerd import Containerd
from .interface import Json


@define
class Pod:
    """A pod of a manifest. Its volumes outlive its sandbox, which has its network.

    :param network: the name of the pod network
    """

    runtime: Containerd
    manifest: Json
    network: str
    uid: str = field(factory=lambda: str(uuid.uuid4()))
    sandbox: str = ""
    _config: Json = field(factory=dict)
    _made: Counter[str] = field(factory=Counter)

    @property
    def folder(self) -> Path:
        """The folder of the pod's volumes, logs and hosts file on the node."""
        return self.runtime.folder / "pods" / self.uid

    @property
    def grace(self) -> int:
        """Seconds that containers have for their end."""
        return int(self.manifest["spec"]["terminationGracePeriodSeconds"])

    def run(self) -> None:
        """Make a sandbox, and with it the pod's network, for the first time or anew."""
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        attempt = self._made["sandbox"]
        self._made["sandbox"] += 1
        group = self.runtime.group
        self._config = manifest.sandbox(self.manifest, self.uid, attempt, logs, group)
        ran = self.runtime.cri("RunPodSandbox", config=self._config, runtime_handler=self.network)
        self.sandbox = ran["pod_sandbox_id"]
        self._hosts.write_text(manifest.hosts(self.manifest, self.address))

    def start(self, name: str = "", **changes: object) -> Container:
        """Create and start a container of the manifest.

        :param name: by default that of the only container
        :param changes: fields of the container's part of the manifest, which replace its own
        """
        spec = self._spec(name)
        return self.launch({**spec, **changes})

    def launch(self, spec: Json) -> Container:
        """Create and start a container, such as an ephemeral container."""
        attempt = self._made[spec["name"]]
        self._made[spec["name"]] += 1
        config = manifest.container(spec, attempt, self._volumes(), self._hosts)
        made = self.runtime.cri(
            "CreateContainer",
            pod_sandbox_id=self.sandbox,
            config=config,
            sandbox_config=self._config,
        )
        container = Container(self.runtime, made["container_id"])
        self.runtime.cri("StartContainer", container_id=container.id)
        return container

    @property
    def address(self) -> str:
        """The pod's address as the runtime reports it, which is that of the first interface."""
        address: str = self._status()["status"]["network"]["ip"]
        return address

    @property
    def netns(self) -> str:
        """The file of the network namespace, inside containerd's root folder."""
        spec = json.loads(self._status()["info"]["info"])["runtimeSpec"]
        spaces = spec["linux"]["namespaces"]
        (path,) = (space["path"] for space in spaces if space["type"] == "network")
        return str(path)

    def in_network(self, *argv: Argument, check: bool = True) -> Completed:
        """Run a program in the pod's network, as the runtime does to forward a port."""
        return self.runtime.run("nsenter", f"--net={self.netns}", "--", *argv, check=check)

    def interface(self, name: str = "eth0") -> Json:
        """Run ``ip address`` for an interface of the pod."""
        (found,) = self.in_network("ip", "-j", "address", "show", name).json()
        return dict(found)

    def remove(self) -> None:
        """Stop and remove the sandbox, its containers and its network."""
        self.runtime.cri("StopPodSandbox", pod_sandbox_id=self.sandbox)
        self.runtime.cri("RemovePodSandbox", pod_sandbox_id=self.sandbox)

    @property
    def _hosts(self) -> Path:
        return self.folder / "etc-hosts"

    def _spec(self, name: str) -> Json:
        pod = self.manifest["spec"]
        specs = [*pod.get("initContainers", ()), *pod["containers"]]
        if not name:
            (spec,) = specs
        else:
            (spec,) = (found for found in specs if found["name"] == name)
        return dict(spec)

    def _volumes(self) -> dict[str, Path]:
        """Make the folders of the pod's ``emptyDir`` volumes, and return them by name."""
        volumes = {}
        for volume in self.manifest["spec"].get("volumes", ()):
            assert "emptyDir" in volume, volume
            path = self.folder / "volumes" / volume["name"]
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o777)
            volumes[volume["name"]] = path
        return volumes

    def _status(self) -> Json:
        return self.runtime.cri("PodSandboxStatus", pod_sandbox_id=self.sandbox, verbose=True)


@frozen
class Container:
    """A container of a pod."""

    runtime: Containerd
    id: str

    def status(self) -> Json:
        """Return the runtime's status of the container."""
        status: Json = self._status()["status"]
        return status

    def logs(self) -> str:
        """Return the log, without the time and the name of the stream in each line."""
        log = Path(self.status()["log_path"]).read_text(errors="replace")
        complete, _, _ = log.rpartition("\n")
        fields = (line.split(" ", 3) for line in complete.splitlines())
        # F or P: a full line, or a part that continues in the next line.
        return "".join(text + "\n" * (kind == "F") for _, _, kind, text in fields)

    def exec(self, *argv: str, timeout: int = WAIT, check: bool = True) -> Completed:
        """Run a program in the container, as a probe does.

        :param timeout: seconds after which the runtime kills the program
        """
        answer = self.runtime.cri("ExecSync", container_id=self.id, cmd=argv, timeout=timeout)
        out, err = (base64.b64decode(answer[stream]).decode() for stream in ("stdout", "stderr"))
        status = int(answer["exit_code"])
        assert not (check and status), f"{argv}: exit status {status}\n{out}{err}"
        return Completed(argv, out, err, status)

    def kill(self) -> None:
        """Kill the container's first process, as the kernel does out of memory."""
        pid = json.loads(self._status()["info"]["info"])["pid"]
        self.runtime.run("sh", "-c", f"kill -9 {pid}")

    def stop(self, grace: int) -> None:
        """Stop the container, which is killed after *grace* seconds."""
        self.runtime.cri("StopContainer", grace + WAIT, container_id=self.id, timeout=grace)

    def wait(self) -> int:
        """Wait for the container to end, and return its exit status."""
        until(
            lambda: self.status()["state"] == "CONTAINER_EXITED",
            WAIT,
            "the container to end",
            detail=self.logs,
        )
        return int(self.status()["exit_code"])

    def _status(self) -> Json:
        return self.runtime.cri("ContainerStatus", container_id=self.id, verbose=True)
