"""What the image states of itself: its labels, and its bill of materials."""

from __future__ import annotations

import sys

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.engine.conftest import ROOT
from tests.lab.command import run
from tests.lab.engines.docker import Engine
from vmnet import __version__

pytestmark = pytest.mark.engine


def test_the_labels_and_the_bill_of_materials(docker: Engine, image: str) -> None:
    labels = docker.inspect(image)["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "vmnet"
    assert labels["org.opencontainers.image.version"] == __version__

    printed = run(sys.executable, ROOT / "deploy" / "sbom.py", image, env=docker.env)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(printed.stdout) is None
    bill = printed.json()
    assert bill["metadata"]["component"]["version"] == __version__
    versions = {part["name"]: part["version"] for part in bill["components"]}
    assert versions["vmnet-entrypoint"] == __version__
    assert {"pyroute2", "pip", "dnsmasq-base", "qemu-utils", "libc6"} <= set(versions)
    guest = {part["name"] for part in bill["components"] if "guest" in part["bom-ref"]}
    assert "busybox-static" in guest
    assert any(name.startswith("linux-image-") for name in guest)
