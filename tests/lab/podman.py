"""Podman, as root, with everything in a folder of its own and its bridges in a namespace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from .command import Argument, Completed, run
from .namespace import Namespace
from .progress import step

# The capabilities are those of Podman's own releases; Debian's older ones add to them.
_CONF = """\
[containers]
cgroups = "enabled"
log_driver = "k8s-file"
default_capabilities = [
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYS_CHROOT",
]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
default_subnet = "10.214.0.0/24"
"""

# Podman's own are more than this machine may allow.
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/root"
runroot = "{folder}/run"
"""


@frozen
class Podman:
    """:param argv: the command with its folders"""

    host: Namespace
    argv: tuple[Argument, ...]
    env: dict[str, str]

    def __call__(self, *argv: Argument, check: bool = True, timeout: float = 60) -> Completed:
        """Any podman command, run to its end."""
        enter = ("nsenter", f"--net={self.host.path}")
        return run(*enter, *self.argv, *argv, env=self.env, check=check, timeout=timeout)

    def start(self, image: str, *command: str, options: Sequence[str] = ()) -> Container:
        """``podman run -d``."""
        started = self("run", "-d", *_LIMITS, *options, image, *command)
        return Container(self, started.stdout.strip())

    def run(
        self, image: str, *command: str, options: Sequence[str] = (), check: bool = True
    ) -> Completed:
        """``podman run --rm``, to its end."""
        return self("run", "--rm", *_LIMITS, *options, image, *command, check=check)


@frozen
class Container:
    """A container by its identifier."""

    engine: Podman
    id: str

    def inspect(self) -> dict[str, Any]:
        """``podman inspect``."""
        found: list[dict[str, Any]] = self.engine("inspect", self.id).json()
        return found[0]

    def logs(self) -> str:
        """Both of its output streams."""
        said = self.engine("logs", self.id)
        return said.stdout + said.stderr

    def tell(self) -> str:
        """Its log, and what runs in it, for a failure."""
        return f"{self.logs()}\n{self.engine('top', self.id, check=False).stdout}"

    def stop(self, seconds: int) -> None:
        """``podman stop``, which kills it after *seconds*."""
        self.engine("stop", "-t", str(seconds), self.id, timeout=seconds + 30)

    def wait(self) -> int:
        """Await its end and return its exit status."""
        return int(self.engine("wait", self.id).stdout)


@contextmanager
def podman(host: Namespace, archive: Path) -> Iterator[Podman]:
    """
    Podman with one image, and without a trace at the end.

    :param archive: the image, as ``docker save`` writes it.
    """
    # Not on a tmpfs: overlay file systems don't lie on each other.
    with tempfile.TemporaryDirectory(prefix="vmnet-podman-", dir="/var/tmp") as name:
        folder = Path(name)
        (folder / "networks").mkdir()
        conf = folder / "containers.conf"
        conf.write_text(_CONF.format(folder=folder))
        storage = folder / "storage.conf"
        storage.write_text(_STORAGE.format(folder=folder))
        env = {
            **os.environ,
            "CONTAINERS_CONF": str(conf),
            "CONTAINERS_STORAGE_CONF": str(storage),
        }
        made = Podman(host, ("podman", "--tmpdir", folder / "tmp"), env)
        try:
            with step("podman load"):
                made("load", "-q", "-i", archive, timeout=300)
            yield made
        finally:
            made("rm", "-a", "-f", "-t", "0", check=False)
            made("rmi", "-a", "-f", check=False)
            run("umount", "-l", folder / "root" / "overlay", check=False)
