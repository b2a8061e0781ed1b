"""Tests reach the containers of an engine, and a private engine leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.engines.control_groups import named
from tests.lab.engines.docker import Engine, engine, own_engine
from tests.lab.images import pause
from tests.lab.wait import WAIT, until
from tests.lab.web import fetch

pytestmark = pytest.mark.engine

BUSYBOX = ("--entrypoint", "/bin/busybox")


@pytest.fixture(scope="module")
def docker() -> Iterator[Engine]:
    with engine() as made:
        yield made


@pytest.fixture(scope="module")
def image(docker: Engine) -> Iterator[str]:
    """An image that contains only busybox."""
    tag = "vmnet-tests/selftest"
    pause.make(docker, tag)
    yield tag
    docker.remove()
    docker.docker("rmi", tag)


def test_net_admin_is_enough_for_a_bridge(docker: Engine, image: str) -> None:
    script = "busybox ip link add br0 type bridge && busybox ip link show br0"
    command = (image, "sh", "-c", script)
    shown = docker.run(*command, options=[*BUSYBOX, "--cap-add", "NET_ADMIN"])
    assert " br0: " in shown.stdout
    assert docker.run(*command, options=BUSYBOX, check=False).returncode


def test_a_published_port_is_reached(docker: Engine, image: str) -> None:
    server = ("httpd", "-f", "-v", "-p", "80", "-h", "/etc")
    container = docker.start(image, *server, options=[*BUSYBOX, "-p", "127.0.0.1::80"])
    page = fetch(docker.on_host, f"http://127.0.0.1:{container.port('80/tcp')}/hosts").stdout
    assert container.address() in page
    # The engine copies the log after the page has arrived.
    until(lambda: "response:200" in container.logs(), WAIT, "the log", detail=container.logs)
    found = container.exec("busybox", "hostname", "-i").stdout.strip()
    assert found == container.address()
    container.stop(1)
    assert container.wait() in (0, 137, 143)
    container.rm()


def test_a_private_engine_leaves_nothing_behind() -> None:
    with own_engine() as private:
        assert private.host is not None
        assert private.daemon is not None
        folder, network = private.daemon.socket.parent, private.host.path
        assert private.docker("ps", "-q").stdout == ""
    assert not folder.exists()
    assert not network.exists()
    assert not named(folder.name)
    assert str(folder) not in Path("/proc/mounts").read_text()


def test_names_resolve_on_a_user_defined_network(docker: Engine, image: str) -> None:
    with docker.network("vmt-selftest") as network:
        server = docker.start(image, options=["--network", network, "--name", "vmt-server"])
        lookup = (image, "nslookup", "vmt-server")
        found = docker.run(*lookup, options=[*BUSYBOX, "--network", network])
        assert f"Address: {server.address(network)}\n" in found.stdout
        server.rm()
