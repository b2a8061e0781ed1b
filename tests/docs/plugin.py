"""The plugin of docs/writing-a-plugin.md, written out and installed as the page has it."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

from tests.docs import pages
from tests.lab.command import run

PAGE = pages.ROOT / "docs/writing-a-plugin.md"
NAME = "vmnet-jsondisk"
_FILE = re.compile(r"# (\S+\.(?:py|toml))\n(.*)", re.DOTALL)


def follow(folder: Path) -> Path:
    """Do what the page says, up to its tests, in a folder; answer the plugin's own.

    That is its first shell block, beside this project's plugins, and then those blocks whose first
    line is a comment with a path.
    """
    shutil.copytree(pages.ROOT / "plugins/nodhcp", folder / "plugins/nodhcp")
    copying = next(one for one in pages.blocks_of(PAGE) if one.language == "sh")
    run("sh", "-euc", copying.text, cwd=folder)
    made = folder / NAME
    for block in pages.blocks_of(PAGE):
        if found := _FILE.fullmatch(block.text):
            path = made / found[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found[2])
    return made


def dockerfile() -> str:
    """The page's."""
    (block,) = (one for one in pages.blocks_of(PAGE) if one.language == "dockerfile")
    return block.text


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
