"""``deploy/compose.yaml``, as a real ``docker compose`` runs it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from attrs import frozen

from tests.engine.conftest import BOOT_SECONDS, FETCH, ROOT, Vms
from tests.lab.command import Argument, Completed, Process, background, run
from tests.lab.engines.docker import Container
from tests.lab.wait import WAIT, until

pytestmark = [pytest.mark.engine, pytest.mark.long]

_PROJECT = "vmtcompose"
_NETWORK = f"{_PROJECT}_default"
# The engine keeps only its last 256 events, and each health check causes three. So the test reads
# them from before the start.
_EVENTS = (
    *("docker", "events", "--filter", "event=start", "--filter", "event=health_status"),
    *("--filter", f"label=com.docker.compose.project={_PROJECT}"),
    *("--format", "{{.Actor.ID}} {{.Action}}"),
)


@frozen
class Project:
    """The services of the file."""

    vms: Vms
    _events: Process

    def compose(self, *argv: Argument) -> Completed:
        """Run Compose's command, with the tests' image and any free port."""
        env = {**self.vms.docker.env, "VMNET_IMAGE": self.vms.image, "VMNET_PORT": "127.0.0.1:0"}
        file = ("--file", ROOT / "deploy/compose.yaml", "--project-name", _PROJECT)
        return run("docker-compose", *file, *argv, env=env, timeout=2 * BOOT_SECONDS)

    def container(self, service: str) -> Container:
        return Container(self.vms.docker, self.compose("ps", "-q", service).stdout.strip())

    def events(self, last: Container) -> list[str]:
        """Return the starts up to that of *last*, and when each container was healthy first."""
        start, output = f"{last.id} start\n", self._events.output
        until(lambda: start in output(), WAIT, "the last start", detail=output)
        lines = output().splitlines()
        # A guest that answers late is unhealthy for some time, and then healthy again.
        return [
            line
            for number, line in enumerate(lines)
            if line.endswith(" start")
            or (line.endswith(" health_status: healthy") and line not in lines[:number])
        ]

    def names(self, guest: Container, name: str) -> list[str]:
        """Return the addresses that a guest finds for a name."""
        found = self.vms.query(guest.address(_NETWORK), f"lookup?name={name}")
        addresses: list[str] = found["addresses"]
        return addresses


@pytest.fixture
def project(vms: Vms) -> Iterator[Project]:
    since = ("--since", str(int(time.time())))
    with background(*_EVENTS, *since, env=vms.docker.env) as events:
        made = Project(vms, events)
        try:
            made.compose("up", "-d")
            yield made
        finally:
            made.compose("down", "--volumes")


def test_two_vms_and_a_container(project: Project) -> None:
    db, web, files = map(project.container, ("db", "web", "files"))
    no_check = "the image's HEALTHCHECK is for VMs"
    assert "Health" not in files.inspect()["State"], no_check
    # Compose started each service when the one before it was healthy.
    assert project.events(last=files) == [
        f"{db.id} start",
        f"{db.id} health_status: healthy",
        f"{web.id} start",
        f"{web.id} health_status: healthy",
        f"{files.id} start",
    ]

    address = web.address(_NETWORK)
    assert project.names(web, "db") == [db.address(_NETWORK)]
    assert project.names(db, "web") == [address]
    assert project.names(db, "files") == [files.address(_NETWORK)]
    page = files.exec("python3", "-c", FETCH, "http://web/").stdout
    assert address in page
    published = project.vms.query(f"127.0.0.1:{web.port('80/tcp')}", "identity")
    assert published["interfaces"][0]["ipv4"][0].startswith(f"{address}/")

    format_and_size = db.exec("qemu-img", "info", "--force-share", "/disks/db.qcow2").stdout
    assert "file format: qcow2" in format_and_size
    assert "virtual size: 2 GiB" in format_and_size
    project.compose("stop")
    assert [made.wait() for made in (db, web)] == [0, 0]
    assert "vmnet-guest: power button, shutting down" in db.logs()
