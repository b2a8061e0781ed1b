"""Use a real Docker engine: the machine's, if it runs one, or a private one."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from ..command import Argument, Completed, run
from ..images import base_image
from ..net.namespace import Namespace
from ..progress import step
from ..wait import WAIT
from .dockerd import ANSWERS, Daemon, dockerd

Json = dict[str, Any]


@define
class Container:
    """A container, identified by its ID."""

    engine: Engine
    id: str

    def inspect(self) -> Json:
        """Run ``docker inspect``."""
        return self.engine.inspect(self.id)

    def address(self, network: str = "bridge") -> str:
        """Return the container's IPv4 address on a network."""
        address: str = self.inspect()["NetworkSettings"]["Networks"][network]["IPAddress"]
        return address

    def port(self, inside: str) -> int:
        """Return the host's port on which ``-p`` published a port such as ``80/tcp``."""
        published = self.inspect()["NetworkSettings"]["Ports"][inside]
        return int(published[0]["HostPort"])

    def running(self) -> bool:
        """Return whether the container runs."""
        return bool(self.inspect()["State"]["Running"])

    def logs(self) -> str:
        """Run ``docker logs``, and return both output streams."""
        logs = self.engine.docker("logs", self.id)
        return logs.stdout + logs.stderr

    def exec(
        self,
        *command: Argument,
        options: Sequence[str] = (),
        check: bool = True,
        timeout: float = WAIT,
        input: str | None = None,
    ) -> Completed:
        """Run ``docker exec``."""
        interactive = ("-i",) if input is not None else ()
        return self.engine.docker(
            *("exec", *interactive, *options, self.id, *command),
            check=check,
            timeout=timeout,
            input=input,
        )

    def stop(self, seconds: int = 2 * WAIT) -> None:
        """Run ``docker stop``, which kills the container after *seconds*."""
        self.engine.docker("stop", "-t", str(seconds), self.id, timeout=seconds + WAIT)

    def restart(self, seconds: int = 2 * WAIT) -> None:
        """Run ``docker restart``, which kills the container after *seconds*."""
        self.engine.docker("restart", "-t", str(seconds), self.id, timeout=seconds + WAIT)

    def kill(self, signal: str = "KILL") -> None:
        """Run ``docker kill``."""
        self.engine.docker("kill", "-s", signal, self.id)

    def wait(self, timeout: float = WAIT) -> int:
        """Wait for the container to end, and return its exit status."""
        return int(self.engine.docker("wait", self.id, timeout=timeout).stdout)

    def rm(self) -> None:
        """Run ``docker rm -f``, which also removes anonymous volumes."""
        self.engine.docker("rm", "-f", "-v", self.id)


@define
class Engine:
    """A Docker engine. :meth:`clean` removes everything that was made with this object."""

    env: Mapping[str, str]
    """The environment with which ``docker`` reaches this engine."""
    host: Namespace | None = None
    """The namespace with the published ports; None for the machine's."""
    daemon: Daemon | None = None
    label: str = field(factory=lambda: f"vmnet-tests={uuid.uuid4().hex}")
    _tags: list[str] = field(factory=list)

    def docker(
        self,
        *argv: Argument,
        check: bool = True,
        timeout: float = WAIT,
        input: str | None = None,
    ) -> Completed:
        """Run any docker command until it ends."""
        return run("docker", *argv, env=self.env, check=check, timeout=timeout, input=input)

    def on_host(self, *argv: Argument, check: bool = True, timeout: float = WAIT) -> Completed:
        """Run a program on the engine's host, where published ports are on 127.0.0.1."""
        if self.host:
            return self.host.run(*argv, check=check, timeout=timeout)
        return run(*argv, check=check, timeout=timeout)

    def inspect(self, name: str) -> Json:
        """Run ``docker inspect`` for an object of any type."""
        objects: list[Json] = self.docker("inspect", name).json()
        return objects[0]

    def has_image(self, tag: str) -> bool:
        """Return whether the engine has an image."""
        return not self.docker("image", "inspect", tag, check=False).returncode

    def build(
        self, context: Path, tag: str, *, options: Sequence[str] = (), timeout: float = 1200
    ) -> str:
        """Run ``docker build`` in a folder, and return the tag."""
        if not self.has_image(tag):
            self._tags.append(tag)
        with step(f"docker build -t {tag}"):
            self.docker("build", "-t", tag, *options, context, timeout=timeout)
        return tag

    def start(self, image: str, *command: str, options: Sequence[str] = ()) -> Container:
        """Run ``docker run -d``."""
        argv = ("run", "-d", "--label", self.label, *options, image, *command)
        return Container(self, self.docker(*argv).stdout.strip())

    def run(
        self,
        image: str,
        *command: str,
        options: Sequence[str] = (),
        check: bool = True,
        timeout: float = WAIT,
        input: str | None = None,
    ) -> Completed:
        """Run ``docker run --rm`` until the container ends."""
        interactive = ("-i",) if input is not None else ()
        argv = ("run", "--rm", "--label", self.label, *interactive, *options, image, *command)
        return self.docker(*argv, check=check, timeout=timeout, input=input)

    @contextmanager
    def network(self, name: str, *options: str) -> Iterator[str]:
        """Run ``docker network create``, and remove the network when the context exits."""
        self.docker("network", "create", "--label", self.label, *options, name)
        yield name
        # After a failure, containers may still use it: remove() removes both.
        self.docker("network", "rm", name)

    def ensure_base_image(self) -> str:
        """Pull or make ``debian:trixie-slim``, on which the Dockerfile is based."""
        tag = base_image.TAG
        if self.has_image(tag):
            return tag
        if self.daemon is None:
            # A machine that runs an engine can usually pull images. If not, make one below.
            with step(f"docker pull {tag}"):
                pulled = self.docker("pull", tag, check=False, timeout=300)
            if not pulled.returncode:
                self._tags.append(tag)
                return tag
        minimal = "vmnet-tests/minbase"
        with step(f"docker import {tag}"):
            self.docker("import", base_image.minimal_tarball(), minimal, timeout=300)
        self._tags.append(minimal)
        with tempfile.TemporaryDirectory(prefix="vmt-base-") as folder:
            base_image.write_context(Path(folder), minimal)
            return self.build(Path(folder), tag)

    def remove(self) -> None:
        """Remove the containers and networks that were made with this object."""
        labelled = ("--filter", f"label={self.label}", "-q")
        if containers := self.docker("ps", "-a", *labelled).stdout.split():
            self.docker("rm", "-f", "-v", *containers)
        if networks := self.docker("network", "ls", *labelled).stdout.split():
            self.docker("network", "rm", *networks)

    def clean(self) -> None:
        """Remove the containers, networks and images that were made with this object."""
        self.remove()
        if self._tags and self.daemon is None:  # a private daemon removes its images
            self.docker("rmi", *reversed(self._tags), check=False)


@contextmanager
def engine() -> Iterator[Engine]:
    """Use the engine that runs on this machine, without lasting changes, or a private one."""
    ambient = dict(os.environ)
    if not run(*ANSWERS, check=False, env=ambient).returncode:
        with _cleaned(Engine(ambient)) as made:
            yield made
    else:
        with own_engine() as made:
            yield made


@contextmanager
def own_engine(
    host: Namespace | None = None, config: str = "", *, current: bool = False
) -> Iterator[Engine]:
    """Run a private engine. The parameters are those of :func:`dockerd.dockerd`."""
    with dockerd(host, config, current=current) as daemon:
        folder = daemon.socket.parent
        env = {
            **os.environ,
            "DOCKER_HOST": f"unix://{daemon.socket}",
            "DOCKER_CONFIG": str(folder / "client"),  # the user's may select another context
            "DOCKER_BUILDKIT": "0",  # BuildKit needs a plugin that Debian's client lacks
        }
        with _cleaned(Engine(env, daemon.host, daemon)) as made:
            yield made


@contextmanager
def _cleaned(made: Engine) -> Iterator[Engine]:
    try:
        yield made
    finally:
        made.clean()
