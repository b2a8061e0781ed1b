"""Build ``debian:trixie-slim`` with debootstrap, without an image registry."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from ..command import run
from ..wait import WAIT
from .cache import cached
from .debootstrap import debootstrap

TAG = "debian:trixie-slim"

_EXTRA_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

# Settings without which this machine may be unable to download packages.
_APT_SETTINGS = re.compile(r"^Acquire::(?:https?::|Check-|Retries|ForceIPv).*;$", re.MULTILINE)
_PIP_SETTINGS = ("index-url", "proxy", "timeout", "default-timeout")

_DOCKERFILE = """\
FROM {minimal}
COPY machine/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV {environment}
CMD ["bash"]
"""


def minimal_tarball() -> Path:
    """Return a tarball of a minimal Debian trixie, from the cache or made by debootstrap."""
    return cached("trixie-minbase.tar", "debootstrap trixie", _make)


def _make(tarball: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="vmnet-trixie-", dir="/var/tmp") as folder:
        root = Path(folder, "root")
        debootstrap(root)
        patterns = ("./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*", "./dev/*")
        excludes = [f"--exclude={pattern}" for pattern in patterns]
        run("tar", "-C", root, "--numeric-owner", *excludes, "-cf", tarball, ".", timeout=WAIT)


def write_context(folder: Path, minimal: str) -> None:
    """
    Write a build context that adapts the image *minimal* to this machine.

    It adds the certificates that this machine trusts in addition to Debian's, and this machine's
    settings for apt and pip. Dockerfiles that start from the image need no change.
    """
    machine = folder / "machine"
    certificates = machine / "usr/local/share/ca-certificates"
    certificates.mkdir(parents=True)
    if _EXTRA_CERTIFICATES.is_dir():
        shutil.copytree(_EXTRA_CERTIFICATES, certificates, dirs_exist_ok=True)
    environment = _pip_environment()
    if _BUNDLE.exists():
        # For programs that run before, or without, the package ca-certificates.
        bundle = machine / "usr/local/share/machine-ca-bundle.crt"
        shutil.copyfile(_BUNDLE, bundle)
        environment["PIP_CERT"] = f"/{bundle.relative_to(machine)}"
    settings = _APT_SETTINGS.findall(run("apt-config", "dump").stdout)
    apt = machine / "etc/apt/apt.conf.d/90machine"
    apt.parent.mkdir(parents=True)
    apt.write_text("".join(f"{line}\n" for line in settings))
    pairs = " ".join(f'{name}="{value}"' for name, value in sorted(environment.items()))
    text = _DOCKERFILE.format(minimal=minimal, environment=pairs or 'PIP_CERT=""')
    (folder / "Dockerfile").write_text(text)


def _pip_environment() -> dict[str, str]:
    """Return this machine's settings for pip's package index, as environment variables."""
    listing = run(sys.executable, "-m", "pip", "config", "list", check=False).stdout
    settings = re.findall(r"^[^.\n]+\.([a-z-]+)='(.*)'$", listing.replace(":env:.", "env."), re.M)
    return {
        f"PIP_{name.upper().replace('-', '_')}": value
        for name, value in settings
        if name in _PIP_SETTINGS
    }
