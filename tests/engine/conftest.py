"""The image as a user builds it, and VM containers of it on a real Docker engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.lab.engine import Container, Engine, engine
from tests.lab.wait import until

ROOT = Path(__file__).parents[2]
BOOT_SECONDS = 90  # under TCG
NET_ADMIN = ("--cap-add", "NET_ADMIN")
FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read())"
"""For a container's python3: print the page at an address."""


@frozen
class Vms:
    """VM containers: the image's own entry point, and nothing but NET_ADMIN."""

    docker: Engine
    image: str

    def start(self, *options: str, command: tuple[str, ...] = ()) -> Container:
        return self.docker.start(
            self.image, *command, options=(*NET_ADMIN, "-e", "VMNET_MEMORY=256M", *options)
        )

    def says(self, vm: Container, text: str) -> str:
        """Await a text in a VM's log."""

        def has() -> bool:
            return text in vm.logs() or not vm.running()

        until(has, BOOT_SECONDS, f"{text!r} in the log", detail=vm.logs)
        said = vm.logs()
        assert text in said, said
        return said

    def ask(self, address: str, page: str) -> Any:
        """A JSON page of a guest, asked for on the engine's host."""
        url = f"http://{address}/cgi-bin/{page}"
        asked = ("curl", "-sSf", "--retry", "20", "--retry-all-errors", "--retry-delay", "1")
        return self.docker.on_host(*asked, "--max-time", "20", url, timeout=60).json()


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    with engine() as made:
        made.ensure_base_image()
        yield made


@pytest.fixture(scope="session")
def image(docker: Engine) -> str:
    return docker.build(ROOT, "vmnet-tests/vmnet")


@pytest.fixture
def vms(docker: Engine, image: str) -> Iterator[Vms]:
    yield Vms(docker, image)
    mine = docker.docker("ps", "-a", "-q", "--filter", f"label={docker.label}").stdout.split()
    if mine:
        docker.docker("rm", "-f", "-v", *mine)
