"""The plugin of docs/writing-a-plugin.md, written out and installed as the page has it."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

from tests.docs import pages

PAGE = pages.ROOT / "docs/writing-a-plugin.md"
_FILE = re.compile(r"# (\S+\.(?:py|toml))\n(.*)", re.DOTALL)


def write(folder: Path) -> None:
    """The files of the page: those blocks whose first line is a comment with a path."""
    for block in pages.blocks_of(PAGE):
        if found := _FILE.fullmatch(block.text):
            path = folder / found[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found[2])


def install(folder: Path, site: Path) -> None:
    """What ``pip install --no-deps --target`` leaves, without the network that a build takes."""
    made = tomllib.loads((folder / "pyproject.toml").read_text())
    project = made["project"]
    for package in made["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(folder / package, site / package)
    title, version = project["name"], project["version"]
    metadata = site / f"{title.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {title}\nVersion: {version}\n"
    )
    points = project["entry-points"]["vmnet"].items()
    lines = "".join(f"{name} = {module}\n" for name, module in points)
    (metadata / "entry_points.txt").write_text(f"[vmnet]\n{lines}")
