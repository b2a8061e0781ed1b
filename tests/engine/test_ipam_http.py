"""The example vmnet-ipam-http on a real engine: a service allocates a container's address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen

from tests.engine.conftest import BOOT_SECONDS, Vms
from tests.lab.engines.docker import Container
from tests.lab.ipam.http import FOLDER, TOKEN, Certificates
from tests.lab.wait import WAIT, until
from vmnet import __version__

pytestmark = [pytest.mark.engine, pytest.mark.long]

NAME = "vmt-ipam"
PRINT_ALLOCATED = (
    "import sqlite3\n"
    "for row in sqlite3.connect('/tmp/ipam').execute('SELECT address FROM address'): print(*row)"
)


@frozen
class Site:
    """A network and the service on it, which Docker's DNS resolves by name."""

    network: str
    service: Container
    folder: Path

    def allocated(self) -> list[str]:
        return self.service.exec("python3", "-c", PRINT_ALLOCATED).stdout.split()


@contextmanager
def site(vms: Vms, folder: Path) -> Iterator[Site]:
    folder.chmod(0o755)
    Certificates.made(folder, NAME)
    (folder / "token").write_text(f"{TOKEN}\n")
    pool = ("--pool", "10.213.78.128/25", "--subnet", "10.213.78.0/24", "--gateway", "10.213.78.1")
    tls = ("--certificate", "/etc/ipam/server.pem", "--token-file", "/etc/ipam/token")
    ranges_of_docker = ("--subnet", "10.213.78.0/24", "--ip-range", "10.213.78.0/25")
    with vms.docker.network("vmt-ipam-net", *ranges_of_docker) as network:
        mounts = ("-v", f"{folder}:/etc/ipam:ro", "-v", f"{FOLDER / 'server'}:/server:ro")
        service = vms.docker.start(
            vms.image,
            *("/server/ipam_server.py", "--listen", "0.0.0.0:8443", "--database", "/tmp/ipam"),
            *pool,
            *tls,
            options=("--network", network, "--name", NAME, "--entrypoint", "python3", *mounts),
        )
        until(lambda: "listening" in service.logs(), WAIT, "the service", detail=service.logs)
        yield Site(network, service, folder)
        service.rm()


def test_a_service_allocates_the_guest_s_address(vms: Vms, tmp_path: Path) -> None:
    base = ("--build-arg", f"VMNET={vms.image}")
    image = vms.docker.build(FOLDER, "vmnet-tests/vmnet-ipam-http", options=base)
    hooks = vms.docker.run(image, "hooks").stdout
    assert f"http (vmnet-ipam-http {__version__})" in hooks
    with site(vms, tmp_path) as made:
        environ = {
            "VMNET_HTTP_URL": f"https://{NAME}:8443",
            "VMNET_HTTP_CA": "/etc/ipam/ca.pem",
            "VMNET_HTTP_TOKEN_FILE": "/etc/ipam/token",
        }
        variables = [word for name, text in environ.items() for word in ("-e", f"{name}={text}")]
        mount = ("-v", f"{tmp_path}:/etc/ipam:ro")
        options = ("--network", made.network, "--hostname", "web", *mount, *variables)
        vm = Vms(vms.docker, image).start(*options)
        vms.await_log(vm, "vmnet-guest: eth0 10.213.78.129/24 via 10.213.78.1")
        identity = vms.query("10.213.78.129", "identity")
        assert identity["hostname"] == "web"
        assert made.allocated() == ["10.213.78.129"]

        vm.kill()
        assert vm.wait() == 137
        assert made.allocated() == ["10.213.78.129"]
        vms.docker.docker("start", vm.id)
        until(
            lambda: vm.logs().count("vmnet-guest: eth0 10.213.78.129/24") == 2,
            BOOT_SECONDS,
            "the second boot",
            detail=vm.logs,
        )
        assert made.allocated() == ["10.213.78.129"]

        vm.stop()
        assert vm.wait() == 0
        assert made.allocated() == []
        vm.rm()
