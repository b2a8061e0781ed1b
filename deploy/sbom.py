"""Print the software bill of materials of an image.

The format is CycloneDX 1.6 (JSON). It lists the Debian packages, the Python packages, and the
packages from which the demonstration guests were built. The same image gives the same bytes. The
environment is that of development, ``pip install -e '.[dev]'``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from attrs import frozen
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

_DPKG = (
    r"${db:Status-Status}\t${Package}\t${Version}\t${Architecture}"
    r"\t${source:Package}\t${source:Version}\n"
)
_DEMO = PurePosixPath("/usr/share/vmnet/demo")
_FIND = ("find", str(_DEMO), "-maxdepth", "2", "-name", "stamp")
_DEBIAN_NAMES = {"aarch64": "arm64", "x86_64": "amd64"}
_NAMESPACE = uuid.UUID("0a3c5c5e-6f0b-5d0e-9f0c-3f0f5f1f7a11")


@frozen
class Contents:
    """What programs of the image and of the engine print."""

    image: Mapping[str, Any]
    """The object of ``docker image inspect``."""
    os_release: str
    debian: str
    python: Mapping[str, Any]
    """The object of ``pip inspect``."""
    stamps: Mapping[str, str]
    """What each demonstration guest was built from, by its folder: empty for that of the image's
    architecture, and the name of the architecture for that of ``FOREIGN=on``.
    """


def read(engine: str, image: str) -> Contents:
    """Read an image's contents, in containers without a network."""

    def inside(*command: str) -> str:
        options = ("--rm", "--network", "none", "--entrypoint", command[0])
        return _output(engine, "run", *options, image, *command[1:])

    return Contents(
        json.loads(_output(engine, "image", "inspect", image))[0],
        inside("cat", "/etc/os-release"),
        inside("dpkg-query", "--show", "--showformat", _DPKG),
        json.loads(inside("pip", "inspect")),
        {_architecture(path): inside("cat", path) for path in inside(*_FIND).splitlines()},
    )


def _architecture(stamp: str) -> str:
    return str(PurePosixPath(stamp).parent.relative_to(_DEMO)).removeprefix(".")


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def document(contents: Contents) -> str:
    """Return the bill of materials."""
    image, labels = contents.image, contents.image["Config"]["Labels"] or {}
    created = datetime.fromisoformat(image["Created"]).astimezone(UTC).replace(microsecond=0)
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, image["Id"]))
    bom.metadata.timestamp = created
    bom.metadata.component = Component(
        type=ComponentType.CONTAINER,
        name=labels.get("org.opencontainers.image.title", "vmnet"),
        version=labels.get("org.opencontainers.image.version"),
        bom_ref="image",
        properties=[Property(name="vmnet:image-id", value=image["Id"])],
    )
    bom.components.update(_debian(contents), _guest(contents), _python(contents.python))
    bom.register_dependency(bom.metadata.component, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def _debian(contents: Contents) -> Iterator[Component]:
    """Yield the installed packages."""
    for line in contents.debian.splitlines():
        status, name, version, architecture, source, source_version = line.split("\t")
        if status != "installed":  # removed, but for its configuration
            continue
        more = {"arch": architecture}
        if (source, source_version) != (name, version):
            more["upstream"] = f"{source}@{source_version}"
        yield _package(contents.os_release, name, version, more)


def _guest(contents: Contents) -> Iterator[Component]:
    """Yield the packages that guest/build unpacked: a name and a version on each line."""
    for architecture, stamp in contents.stamps.items():
        more = {"arch": _DEBIAN_NAMES[architecture]} if architecture else {}
        part = f"demonstration guest {architecture}".rstrip()
        for line in stamp.splitlines():
            name, version = line.split()
            if name != "sources":
                yield _package(contents.os_release, name, version, more, part)


def _package(
    os_release: str, name: str, version: str, more: Mapping[str, str], part: str = "image"
) -> Component:
    system = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    distribution = system["ID"].strip('"')
    release = f"{distribution}-{system['VERSION_ID']}".replace('"', "")
    purl = PackageURL("deb", distribution, name, version, {**more, "distro": release})
    return Component(
        name=name,
        version=version,
        purl=purl,
        bom_ref=f"{part}: {purl}",
        properties=[Property(name="vmnet:part", value=part)],
    )


def _python(inspected: Mapping[str, Any]) -> Iterator[Component]:
    for installed in inspected["installed"]:
        metadata = installed["metadata"]
        name, version = metadata["name"], metadata["version"]
        expression = metadata.get("license_expression")
        purl = PackageURL("pypi", None, name, version)
        yield Component(
            name=name,
            version=version,
            purl=purl,
            bom_ref=str(purl),
            licenses=[LicenseExpression(expression)] if expression else None,
            properties=[Property(name="vmnet:part", value="image")],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="print an image's bill of materials (CycloneDX)")
    parser.add_argument("--engine", default="docker", help="docker or podman (default: docker)")
    parser.add_argument("image")
    arguments = parser.parse_args()
    print(document(read(arguments.engine, arguments.image)))


if __name__ == "__main__":
    main()
