"""The image with QEMU for the other architecture, too, boots a guest for arm64."""

from __future__ import annotations

import json
import sys

import pytest

from tests.engine.conftest import ROOT, Vms
from tests.lab.command import run
from tests.lab.engines.docker import Engine

pytestmark = [pytest.mark.engine, pytest.mark.long]


@pytest.fixture
def foreign(docker: Engine, image: str) -> str:
    """The image for both architectures, which shares most layers with the usual image."""
    return docker.build(ROOT, f"{image}-foreign", options=("--build-arg", "FOREIGN=on"))


def test_the_bill_of_materials_has_the_packages_of_both_guests(
    docker: Engine, foreign: str
) -> None:
    printed = run(sys.executable, ROOT / "deploy" / "sbom.py", foreign, env=docker.env)
    parts = {part["properties"][0]["value"] for part in json.loads(printed.stdout)["components"]}
    assert parts == {"image", "demonstration guest", "demonstration guest aarch64"}


def test_a_guest_for_arm64(vms: Vms, foreign: str) -> None:
    vm = Vms(vms.docker, foreign).start("-e", "VMNET_ARCH=arm64")
    vms.await_log(vm, f"vmnet-guest: eth0 {vm.address()}")
    assert "running, emulation (TCG), aarch64, version" in vm.exec("vmnet", "status").stdout
    vm.stop()
    assert vm.inspect()["State"]["ExitCode"] == 0
    assert "power button, shutting down" in vm.logs()


def test_the_usual_image_names_what_it_lacks(docker: Engine, vms: Vms) -> None:
    vm = vms.start("-e", "VMNET_ARCH=arm64")
    assert vm.wait() != 0
    assert "an image built with `--build-arg FOREIGN=on`" in vm.logs()
