"""Run containerd with its CRI plugin in a network namespace, the node, with pod networks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from ...command import Argument, Completed, Process, background, run
from ...net.namespace import Namespace
from ...progress import step
from ...wait import WAIT, until
from ..data_folder import data_folder
from ..debian13 import debian13
from .interface import Interface, Json, UnavailableError, connect

PAUSE = "docker.io/vmnet-tests/pause:1"
"""The image of the container that keeps a pod's namespaces open: see tests/lab/images/pause.py."""

# The machine may lack CAP_SYS_RESOURCE, with which containerd lowers the OOM score of a container.
_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{folder}/cri.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{folder}/cni/bin"
    conf_dir = "{folder}/cni/{default}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "{default}"
"""
# A runtime class of Kubernetes may have CNI configurations of its own.
_RUNTIME = """\
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
    runtime_type = "io.containerd.runc.v2"
    cni_conf_dir = "{folder}/cni/{name}"
    cni_max_conf_num = {count}
"""


@frozen
class Containerd:
    """containerd on a node.

    :param inside: the words that run a program in its root folder
    :param folder: a folder with the same path inside
    """

    node: Namespace
    inside: tuple[str, ...]
    folder: Path
    cri: Interface

    @property
    def group(self) -> str:
        """The control group of all pods."""
        return f"/{self.folder.name}"

    def run(self, *argv: Argument, check: bool = True, timeout: float = WAIT) -> Completed:
        """Run a program next to containerd."""
        return run(*self.inside, *argv, check=check, timeout=timeout)

    def allocated(self, network: str) -> list[str]:
        """Return the addresses of a network that host-local has allocated."""
        folder = self.folder / "cni" / "networks" / network
        return sorted(file.name for file in folder.glob("[0-9]*"))


@contextmanager
def containerd(
    node: Namespace,
    archives: Sequence[Path],
    networks: Mapping[str, Sequence[Json]],
    plugins: Sequence[Path] = (),
) -> Iterator[Containerd]:
    """Run containerd, and remove its pods and data when the context exits.

    :param archives: files of ``docker save``, one of them with :data:`PAUSE`
    :param networks: the CNI configurations of each pod network; the pod gets an interface from each
    :param plugins: CNI plugins in addition to Debian's
    """
    with data_folder() as folder, debian13(node, folder) as inside:
        _write(folder, networks)
        made = Containerd(node, inside, folder, connect(folder / "cri.sock"))
        made.run("sh", "-c", f"ln -s /usr/lib/cni/* {folder}/cni/bin")
        for plugin in plugins:
            shutil.copy(plugin, folder / "cni" / "bin")
        config = ("--config", folder / "config.toml")
        with background(*inside, "containerd", *config) as process:
            until(lambda: _ready(made, process), WAIT, "containerd", detail=process.output)
            for archive in archives:
                _load(made, archive)
            yield made


def busybox(name: str, *command: str, **settings: object) -> Json:
    """Return the manifest of a container that runs a program of busybox, from :data:`PAUSE`."""
    return {"name": name, "image": PAUSE, "command": ["/bin/busybox", *command], **settings}


def _write(folder: Path, networks: Mapping[str, Sequence[Json]]) -> None:
    """Write the configuration of containerd and that of the networks."""
    for name in ("bin", *networks):
        (folder / "cni" / name).mkdir(parents=True)
    config = _CONFIG.format(folder=folder, pause=PAUSE, default=next(iter(networks)))
    for name, lists in networks.items():
        config += _RUNTIME.format(name=name, folder=folder, count=len(lists))
        for number, listed in enumerate(lists):
            file = folder / "cni" / name / f"{number}.conflist"
            file.write_text(json.dumps(listed).replace("FOLDER", str(folder)))
    (folder / "config.toml").write_text(config)


def _ready(made: Containerd, process: Process) -> bool:
    process.require_running()
    try:
        conditions = made.cri("Status")["status"]["conditions"]
    except UnavailableError:
        return False
    return any(found["type"] == "RuntimeReady" and found["status"] for found in conditions)


def _load(made: Containerd, archive: Path) -> None:
    copy = shutil.copyfile(archive, made.folder / "image.tar")
    ctr = ("ctr", "--address", made.folder / "cri.sock", "--namespace", "k8s.io")
    with step(f"ctr images import {archive.name}"):
        made.run(*ctr, "images", "import", copy, timeout=300)
    copy.unlink()
