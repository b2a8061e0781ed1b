"""docs/writing-a-plugin.md to its end: a plugin's own image, built and run."""

from __future__ import annotations

import json

import pytest

from tests.docs import plugin
from tests.engine.conftest import Vms
from tests.lab.engine import Engine

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def own_image(docker: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page's Dockerfile, with the name that the tests give the image it starts from."""
    folder = tmp_path_factory.mktemp("context")
    plugin.follow(folder)
    first, rest = plugin.dockerfile().split("\n", 1)
    assert first == "FROM vmnet"
    (folder / "Dockerfile").write_text(f"FROM {image}\n{rest}")
    return docker.build(folder, "vmnet-tests/jsondisk")


def test_the_plugin_is_the_image_s_strategy(docker: Engine, own_image: str) -> None:
    said = docker.run(own_image, "hooks", "--json").stdout
    ipam = next(one for one in json.loads(said)["stages"] if one["stage"] == "ipam")
    assert [(one["name"], one["distribution"]) for one in ipam["active"]] == [
        ("jsondisk", "vmnet-jsondisk")
    ]
    assert ipam["why"] == "VMNET_IPAM=jsondisk"


def test_a_vm_of_the_image_has_its_identity_on_a_disk(vms: Vms, own_image: str) -> None:
    vm = Vms(vms.docker, own_image).start("--hostname", "web")
    vms.says(vm, "vmnet-guest:")
    disk = vm.exec("cat", "/run/vmnet/jsondisk.img").stdout.rstrip("\0")
    identity = json.loads(disk)
    vms.says(vm, "This is a root shell.")
    asking = "grep -c '\"web\"' /dev/vda | sed 's/^/lines that name it: /'\n"
    vm.exec("timeout", "5", "vmnet", "console", input=asking, check=False)
    vms.says(vm, "lines that name it: 1")
    network = vm.inspect()["NetworkSettings"]
    assert identity["hostname"] == "web"
    assert identity["interfaces"][0]["addresses"] == [
        f"{network['IPAddress']}/{network['IPPrefixLen']}"
    ]
