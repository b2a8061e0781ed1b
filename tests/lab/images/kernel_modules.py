"""Modules of the demonstration guest's kernel that the guest itself does not have."""

from __future__ import annotations

import lzma
import shutil
import struct
import tempfile
from pathlib import Path

from ..command import run
from .cache import cached

_SETUP = 0x200  # the kernel's version string is at this offset and that in a field of the header
_VERSION_FIELD = 0x20E  # Documentation/arch/x86/boot.rst


def release(kernel: Path) -> str:
    """Return the release of an x86 kernel image, such as ``6.1.0-37-cloud-amd64``."""
    image = kernel.read_bytes()
    (offset,) = struct.unpack_from("<H", image, _VERSION_FIELD)
    return image[_SETUP + offset :].split(b" ", 1)[0].decode()


def modules(kernel: Path, *names: str) -> dict[str, Path]:
    """Return kernel modules in the order in which a guest loads them, by their file names.

    :param names: modules that depend on each other come after those that they need
    """
    version = release(kernel)

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="vmt-modules-") as name:
            package = f"linux-image-{version}"
            download = ("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root")
            run(*download, package, cwd=name, timeout=300)
            (archive,) = Path(name).glob("*.deb")
            run("dpkg-deb", "-x", archive, name)
            (tree,) = Path(name).glob("**/lib/modules")
            shutil.copytree(tree, folder)
        for path in folder.rglob("*.ko.xz"):
            path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))

    tree = cached(f"modules-{version}", f"the modules of Linux {version}", make)
    found = {path.stem: path for path in tree.rglob("*.ko")}
    return {f"{name}.ko": found[name] for name in names}
