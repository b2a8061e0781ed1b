"""Fixtures: the image as a user builds it, and its VM containers on a real Docker engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.lab.engines.docker import Container, Engine, engine, own_engine
from tests.lab.engines.dockerd import BIP
from tests.lab.wait import WAIT, until
from tests.lab.web import fetch

ROOT = Path(__file__).parents[2]
BOOT_SECONDS = 2 * WAIT  # under TCG, where a boot takes some seconds
NET_ADMIN = ("--cap-add", "NET_ADMIN")
# By default, an emulated guest has 9 s to power off, which may be too few on a busy machine.
VM = ("-e", "VMNET_MEMORY=256M", "-e", f"VMNET_STOP_TIMEOUT={WAIT}")
"""Settings of every VM."""
FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read())"
"""A program for a container's python3 that prints the page at a URL."""


@frozen
class Vms:
    """VM containers with the image's entry point and no privilege but NET_ADMIN."""

    docker: Engine
    image: str

    def start(self, *options: str, command: tuple[str, ...] = ()) -> Container:
        return self.docker.start(self.image, *command, options=(*NET_ADMIN, *VM, *options))

    def await_log(self, vm: Container, text: str) -> str:
        """Wait for a text in a VM's log, and return the log."""

        def logged_or_ended() -> bool:
            return text in vm.logs() or not vm.running()

        until(logged_or_ended, BOOT_SECONDS, f"{text!r} in the log", detail=vm.logs)
        logs = vm.logs()
        assert text in logs, logs
        return logs

    def query(self, address: str, page: str) -> Any:
        """Request a JSON page from a guest on the engine's host, and return its content."""
        return fetch(self.docker.on_host, f"http://{address}/cgi-bin/{page}").json()


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    with engine() as made:
        made.ensure_base_image()
        yield made


@pytest.fixture(scope="session")
def image(docker: Engine) -> str:
    return docker.build(ROOT, "vmnet-tests/vmnet")


@pytest.fixture(scope="session")
def saved(docker: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as a file that other engines load."""
    file = tmp_path_factory.mktemp("image") / "vmnet.tar"
    docker.docker("save", "-o", file, image, timeout=300)
    return file


@contextmanager
def another(
    saved: Path, image: str, config: Mapping[str, object], *, current: bool = False
) -> Iterator[Vms]:
    """
    Run a private engine.

    :param config: settings in its daemon.json.
    :param current: run Docker 26 instead of the machine's own.
    """
    with own_engine(config=json.dumps({"bip": BIP, **config}), current=current) as made:
        made.docker("load", "-i", saved, timeout=300)
        yield Vms(made, image)


@pytest.fixture
def vms(docker: Engine, image: str) -> Iterator[Vms]:
    yield Vms(docker, image)
    docker.remove()
