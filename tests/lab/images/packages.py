"""Unpack packages of Debian 13 on this machine, without those on which they depend."""

from __future__ import annotations

from pathlib import Path

from ..command import run

RELEASE = "trixie"
_SOURCE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {release} main\n"
_MIRROR = "http://deb.debian.org/debian"  # debootstrap's default, too


def unpack(folder: Path, *packages: str) -> Path:
    """Download packages to an empty folder, and return a folder in it with their files."""
    for needed in ("state/lists/partial", "cache/archives/partial"):
        (folder / needed).mkdir(parents=True)
    (folder / "sources.list").write_text(_SOURCE.format(mirror=_MIRROR, release=RELEASE))
    settings = (
        f"Dir::Etc::SourceList={folder}/sources.list",
        "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State={folder}/state",
        "Dir::State::Status=/dev/null",
        f"Dir::Cache={folder}/cache",
        "APT::Sandbox::User=root",
    )
    apt = ("apt-get", "-qq", *(word for setting in settings for word in ("-o", setting)))
    run(*apt, "update", timeout=300)
    run(*apt, "download", *packages, cwd=folder, timeout=300)
    for package in folder.glob("*.deb"):
        run("dpkg-deb", "--extract", package, folder / "files")
    return folder / "files"
