"""Find installed UEFI firmware by its descriptors (QEMU's docs/interop/firmware.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vmnet.model.base import frozen

# In this order: a file in the first folder replaces a file of the same name in the second.
_FOLDERS = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
_SECURE = frozenset(("secure-boot", "enrolled-keys"))


@frozen
class Files:
    """The files of UEFI firmware in flash memory.

    :param template: its variables before the first start
    :param smm: it needs the processor's system management mode
    """

    code: Path
    template: Path
    smm: bool


def find(architecture: str, *, secure: bool) -> Files | None:
    """Return the firmware with the highest priority, or None if none is installed.

    :param architecture: as in QEMU's name, such as ``x86_64``
    :param secure: with secure boot and the keys of the usual vendors, or else without secure boot
    """
    for descriptor in _descriptors():
        features = set(descriptor.get("features", ()))
        if features >= _SECURE if secure else not features & _SECURE:
            files = _files(descriptor, architecture)
            if files is not None and files.code.exists() and files.template.exists():
                return files
    return None


def _descriptors() -> Iterator[dict[str, Any]]:
    """Yield the descriptors in the order of their names. Of those not as specified, none counts."""
    paths = {path.name: path for folder in reversed(_FOLDERS) for path in folder.glob("*.json")}
    for _, path in sorted(paths.items()):
        try:
            descriptor = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # an empty file disables the file of the same name
        if isinstance(descriptor, dict):
            yield descriptor


def _files(descriptor: dict[str, Any], architecture: str) -> Files | None:
    mapping = descriptor.get("mapping", {})
    targets = descriptor.get("targets", ())
    if (
        "uefi" not in descriptor.get("interface-types", ())
        or mapping.get("device") != "flash"
        or mapping.get("mode", "split") != "split"
        or all(target.get("architecture") != architecture for target in targets)
    ):
        return None
    code, template = mapping["executable"], mapping["nvram-template"]
    if {code["format"], template["format"]} != {"raw"}:
        return None
    smm = "requires-smm" in descriptor.get("features", ())
    return Files(Path(code["filename"]), Path(template["filename"]), smm)
