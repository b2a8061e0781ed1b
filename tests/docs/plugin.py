"""Write and install the plugin of docs/writing-a-plugin.md as the page describes it."""

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
    """Follow the page in a folder, up to the plugin's tests, and return the plugin's folder.

    Run the page's first shell block next to a copy of ``plugins/nodhcp``. Then write each block
    whose first line is a comment with a path.
    """
    shutil.copytree(pages.ROOT / "plugins/nodhcp", folder / "plugins/nodhcp")
    shell = next(block for block in pages.blocks_of(PAGE) if block.language == "sh")
    run("sh", "-euc", shell.text, cwd=folder)
    plugin = folder / NAME
    for block in pages.blocks_of(PAGE):
        if match := _FILE.fullmatch(block.text):
            path = plugin / match[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(match[2])
    return plugin


def dockerfile() -> str:
    """Return the page's Dockerfile."""
    (block,) = (block for block in pages.blocks_of(PAGE) if block.language == "dockerfile")
    return block.text


def install(folder: Path, site: Path) -> None:
    """Install as ``pip install --no-deps --target`` does, but without a build, which downloads."""
    pyproject = tomllib.loads((folder / "pyproject.toml").read_text())
    project = pyproject["project"]
    for package in pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
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
