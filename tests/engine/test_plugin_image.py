"""The image at the end of docs/writing-a-plugin.md builds and runs."""

from __future__ import annotations

import json

import pytest

from tests.docs import plugin
from tests.engine.conftest import Vms
from tests.lab.console import on_pty
from tests.lab.engines.docker import Engine

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def own_image(docker: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of the page's Dockerfile, based on the image under test."""
    folder = tmp_path_factory.mktemp("context")
    plugin.follow(folder)
    first, rest = plugin.dockerfile().split("\n", 1)
    assert first == "FROM vmnet"
    (folder / "Dockerfile").write_text(f"FROM {image}\n{rest}")
    return docker.build(folder, "vmnet-tests/jsondisk")


def test_the_image_selects_the_plugin(docker: Engine, own_image: str) -> None:
    hooks = docker.run(own_image, "hooks", "--json").json()
    ipam = next(stage for stage in hooks["stages"] if stage["stage"] == "ipam")
    assert [(plugin["name"], plugin["distribution"]) for plugin in ipam["active"]] == [
        ("jsondisk", "vmnet-jsondisk")
    ]
    assert ipam["why"] == "VMNET_IPAM=jsondisk"


def test_a_vm_of_the_image_has_its_identity_on_a_disk(vms: Vms, own_image: str) -> None:
    vm = Vms(vms.docker, own_image).start("--hostname", "web")
    vms.await_log(vm, "vmnet-guest:")
    disk = vm.exec("cat", "/run/vmnet/jsondisk.img").stdout.rstrip("\0")
    identity = json.loads(disk)
    vms.await_log(vm, "This is a root shell.")
    with on_pty("docker", "exec", "-it", vm.id, "vmnet", "console", env=vms.docker.env) as console:
        console.expect("Ctrl-] leaves")
        console.send("grep -c '\"web\"' /dev/vda | sed 's/^/lines that name it: /'\r")
        console.expect("^lines that name it: 1$")
    network = vm.inspect()["NetworkSettings"]
    assert identity["hostname"] == "web"
    assert identity["interfaces"][0]["addresses"] == [
        f"{network['IPAddress']}/{network['IPPrefixLen']}"
    ]
