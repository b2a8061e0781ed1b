"""Run Podman as root, with its data in a temporary folder and its bridges in a namespace.

Podman is the machine's own, or that of Debian 13.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from attrs import frozen

from ..command import Argument, Completed, run
from ..net.namespace import Namespace
from ..progress import step
from ..wait import WAIT
from .data_folder import data_folder
from .debian13 import debian13

PODMAN = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID"),
    *("SETPCAP", "SETUID", "SYS_CHROOT"),
)
"""Podman's current default capabilities. Debian's older releases have more."""
CRI_O = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP"),
    "SETUID",
)
"""The default capabilities of CRI-O (crio.conf(5))."""

_CONF = """\
[containers]
cgroups = "enabled"
log_driver = "k8s-file"
# Podman's default limits may exceed this machine's.
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
default_capabilities = {capabilities}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
default_subnet = "10.214.0.0/24"
"""

_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/root"
runroot = "{folder}/run"
"""


@frozen
class Podman:
    """Podman in a namespace.

    :param argv: the command with the options for its folders
    :param inside: the words that run a program in its root folder
    :param folder: a folder with the same path inside
    """

    host: Namespace
    argv: tuple[Argument, ...]
    env: dict[str, str]
    inside: tuple[str, ...]
    folder: Path

    def __call__(
        self, *argv: Argument, check: bool = True, timeout: float = WAIT, input: str = ""
    ) -> Completed:
        """Run any podman command until it ends."""
        command = self.command(*argv)
        return run(*command, env=self.env, check=check, timeout=timeout, input=input)

    def command(self, *argv: Argument) -> tuple[Argument, ...]:
        """Return the words of a podman command, for the environment :attr:`env`."""
        return ("nsenter", f"--net={self.host.path}", *self.argv, *argv)

    def play(self, manifests: str, container: str, *options: str) -> Container:
        """Run ``podman kube play``, and return a container of the pod by name.

        :param manifests: YAML documents
        """
        self("kube", "play", *options, "-", input=manifests)
        return Container(self, container)

    def quadlet(self, unit: Path) -> dict[str, str]:
        """Return the service that Podman's systemd generator makes of a unit, by its keys."""
        units = self.folder / "units"
        units.mkdir()
        shutil.copy(unit, units)
        generator = (*self.inside, "/usr/libexec/podman/quadlet", "--dryrun", "--no-kmsg-log")
        made = run(*generator, env={**self.env, "QUADLET_UNIT_DIRS": str(units)})
        messages = made.stderr.splitlines()
        assert all("Loading source unit file" in message for message in messages), made.stderr
        lines = [line for line in made.stdout.splitlines() if "=" in line and line[0] not in "#-"]
        return dict(line.split("=", 1) for line in lines)

    def infra(self, pod: str) -> Container:
        """Return the container that owns a pod's network."""
        found = self("pod", "inspect", pod).json()
        inspected = found[0] if isinstance(found, list) else found  # a list since Podman 5
        return Container(self, inspected["InfraContainerID"])

    def start(self, image: str, *command: str, options: Sequence[str] = ()) -> Container:
        """Run ``podman run -d``."""
        started = self("run", "-d", *options, image, *command)
        return Container(self, started.stdout.strip())

    def run(
        self, image: str, *command: str, options: Sequence[str] = (), check: bool = True
    ) -> Completed:
        """Run ``podman run --rm`` until the container ends."""
        return self("run", "--rm", *options, image, *command, check=check)


@frozen
class Container:
    """A container, identified by its ID or name."""

    engine: Podman
    id: str

    def inspect(self) -> dict[str, Any]:
        """Run ``podman inspect``."""
        containers: list[dict[str, Any]] = self.engine("inspect", self.id).json()
        return containers[0]

    def logs(self) -> str:
        """Run ``podman logs``, and return both output streams."""
        logs = self.engine("logs", self.id)
        return logs.stdout + logs.stderr

    def report(self) -> str:
        """Return the logs and the processes, for the message of a failure."""
        return f"{self.logs()}\n{self.engine('top', self.id, check=False).stdout}"

    def stop(self, seconds: int = 2 * WAIT) -> None:
        """Run ``podman stop``, which kills the container after *seconds*."""
        self.engine("stop", "-t", str(seconds), self.id, timeout=seconds + WAIT)

    def wait(self) -> int:
        """Wait for the container to end, and return its exit status."""
        return int(self.engine("wait", self.id).stdout)


@contextmanager
def podman(
    host: Namespace,
    archive: Path,
    *,
    capabilities: Sequence[str] = PODMAN,
    current: bool = False,
) -> Iterator[Podman]:
    """
    Run Podman with one image, and remove all its data when the context exits.

    :param archive: the image as a file of ``docker save``.
    :param capabilities: those that containers have by default.
    :param current: run Podman 5 of Debian 13, instead of the machine's own.
    """
    with (
        data_folder() as folder,
        debian13(host, folder) if current else nullcontext(()) as inside,
    ):
        (folder / "networks").mkdir()
        conf = folder / "containers.conf"
        conf.write_text(_CONF.format(folder=folder, capabilities=json.dumps(capabilities)))
        storage = folder / "storage.conf"
        storage.write_text(_STORAGE.format(folder=folder))
        env = {
            **os.environ,
            "CONTAINERS_CONF": str(conf),
            "CONTAINERS_STORAGE_CONF": str(storage),
        }
        made = Podman(host, (*inside, "podman", "--tmpdir", folder / "tmp"), env, inside, folder)
        try:
            with step("podman load"):
                if current:  # its root contains only this folder of the machine's
                    archive = shutil.copyfile(archive, folder / "image.tar")
                made("load", "-q", "-i", archive, timeout=300)
            yield made
        finally:
            made("pod", "rm", "-a", "-f", "-t", "0", check=False)
            made("rm", "-a", "-f", "-t", "0", check=False)
            made("rmi", "-a", "-f", check=False)
