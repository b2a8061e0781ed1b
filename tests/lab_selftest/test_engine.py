"""The engine builds from a Debian image with apt and pip, and tests reach its containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.engines.docker import Engine, engine, own_engine
from tests.lab.wait import WAIT, until

pytestmark = pytest.mark.engine

DOCKERFILE = """\
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends iproute2 python3 python3-pip
RUN pip install --break-system-packages attrs
"""


@pytest.fixture(scope="module")
def docker() -> Iterator[Engine]:
    with engine() as made:
        yield made


@pytest.fixture(scope="module")
def image(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    docker.ensure_base_image()
    context: Path = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text(DOCKERFILE)
    return docker.build(context, "vmnet-tests/selftest")


def test_net_admin_is_enough_for_a_bridge(docker: Engine, image: str) -> None:
    script = "ip link add br0 type bridge && ip -br link show br0"
    shown = docker.run(image, "sh", "-c", script, options=["--cap-add", "NET_ADMIN"])
    assert shown.stdout.startswith("br0")
    assert docker.run(image, "sh", "-c", script, check=False).returncode


def test_a_published_port_is_reached(docker: Engine, image: str) -> None:
    server = ("python3", "-m", "http.server", "80", "-d", "/etc/apt/sources.list.d/..")
    container = docker.start(image, *server, options=["-p", "127.0.0.1::80"])
    url = f"http://127.0.0.1:{container.port('80/tcp')}/sources.list"

    def page() -> str:
        return docker.on_host("curl", "-sSf", "-m", "5", url, check=False).stdout

    assert "trixie" in until(page, WAIT, f"{url}", detail=container.logs)
    assert "GET /sources.list" in container.logs()
    assert container.exec("hostname", "-i").stdout.strip() == container.address()
    container.stop(1)
    assert container.wait() in (0, 137, 143)


def test_a_private_engine_leaves_nothing_behind() -> None:
    with own_engine() as private:
        assert private.host is not None
        assert private.daemon is not None
        folder, network = private.daemon.socket.parent, private.host.path
        assert private.docker("ps", "-q").stdout == ""
    assert not folder.exists()
    assert not network.exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{folder.name}"))
    assert str(folder) not in Path("/proc/mounts").read_text()


def test_names_resolve_on_a_user_defined_network(docker: Engine, image: str) -> None:
    with docker.network("vmt-selftest") as network:
        options = ["--network", network]
        server = docker.start(image, "sleep", "60", options=[*options, "--name", "vmt-server"])
        hosts = docker.run(image, "getent", "hosts", "vmt-server", options=options)
        assert hosts.stdout.split()[0] == server.address(network)
        server.rm()
