"""The bill of materials of an image, from what the image's programs print."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy import sbom

CONTENTS = sbom.Contents(
    image={
        "Id": "sha256:0123",
        "Created": "2026-11-30T05:06:07.123456789Z",
        "Config": {"Labels": {"org.opencontainers.image.version": "1.2.3"}},
    },
    os_release='PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\n\nID=debian\n',
    debian=(
        "config-files\tlibold1\t1-1\tamd64\tlibold\t1-1\n"
        "installed\tdnsmasq-base\t2.91-1\tamd64\tdnsmasq\t2.91-1\n"
        "installed\tqemu-utils\t1:10.0.2+ds-2\tamd64\tqemu-utils\t1:10.0.2+ds-2\n"
        "installed\tbusybox-static\t1:1.37.0-6\tamd64\tbusybox\t1:1.37.0-6\n"
    ),
    python={
        "installed": [
            {"metadata": {"name": "attrs", "version": "26.1.0", "license_expression": "MIT"}},
            {"metadata": {"name": "pyroute2", "version": "0.9.7", "license": "a text"}},
        ]
    },
    stamps={
        "": (
            "linux-image-6.12.1-cloud-amd64 6.12.1-1\nbusybox-static 1:1.37.0-6\nsources 0123abcd\n"
        ),
        "aarch64": "busybox-static 1:1.37.0-6\nsources 0123abcd\n",
    },
)


def test_a_bill_of_materials() -> None:
    text = sbom.document(CONTENTS)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert bill["metadata"]["timestamp"] == "2026-11-30T05:06:07+00:00"
    assert bill["metadata"]["component"]["version"] == "1.2.3"
    found = {(part["purl"], part["properties"][0]["value"]) for part in bill["components"]}
    debian = "pkg:deb/debian/"
    kernel = f"{debian}linux-image-6.12.1-cloud-amd64@6.12.1-1"
    in_image = "?arch=amd64&distro=debian-13"
    assert found == {
        (f"{debian}dnsmasq-base@2.91-1{in_image}&upstream=dnsmasq%402.91-1", "image"),
        (f"{debian}qemu-utils@1:10.0.2%2Bds-2{in_image}", "image"),
        (f"{debian}busybox-static@1:1.37.0-6{in_image}&upstream=busybox%401:1.37.0-6", "image"),
        (f"{kernel}?distro=debian-13", "demonstration guest"),
        (f"{debian}busybox-static@1:1.37.0-6?distro=debian-13", "demonstration guest"),
        (
            f"{debian}busybox-static@1:1.37.0-6?arch=arm64&distro=debian-13",
            "demonstration guest aarch64",
        ),
        ("pkg:pypi/attrs@26.1.0", "image"),
        ("pkg:pypi/pyroute2@0.9.7", "image"),
    }
    licenses = {part["name"]: part.get("licenses") for part in bill["components"]}
    assert licenses["attrs"] == [{"expression": "MIT"}]
    assert licenses["pyroute2"] is None


def test_the_architecture_of_a_guest_is_its_folder() -> None:
    assert sbom._architecture("/usr/share/vmnet/demo/stamp") == ""
    assert sbom._architecture("/usr/share/vmnet/demo/aarch64/stamp") == "aarch64"


@pytest.mark.parametrize(
    "created",
    ["2026-11-30T05:06:07Z", "2026-11-30T05:06:07.1Z", "2026-11-30T07:06:07.123456789+02:00"],
)
def test_the_time_of_the_image(created: str) -> None:
    image = {**CONTENTS.image, "Created": created}
    bill = json.loads(sbom.document(evolve(CONTENTS, image=image)))
    assert bill["metadata"]["timestamp"] == "2026-11-30T05:06:07+00:00"


def test_the_same_image_gives_the_same_bytes() -> None:
    assert sbom.document(CONTENTS) == sbom.document(CONTENTS)
