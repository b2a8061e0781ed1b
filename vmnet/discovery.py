"""Find installed plugins: the entry points of group ``vmnet``.

``importlib.metadata`` would do this too, but costs four times what all of pluggy does to import,
on every start. The files it reads are simple, and a test holds the two to the same answer.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vmnet.errors import PluginError
from vmnet.noun import Noun, noun

GROUP = "vmnet"
_SUFFIXES = (".dist-info", ".egg-info")


@noun
class Plugin(Noun):
    """An entry point.

    :param name: what the environment selects it by
    :param module: where its hooks are
    """

    name: str
    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


@noun
class Broken(Noun):
    """A plugin that is installed and can't be used: no start goes on beside it.

    :param error: what the start says
    """

    plugin: Plugin
    error: PluginError


def discover(path: Sequence[str] | None = None) -> tuple[Plugin, ...]:
    """Every installed plugin, sorted by name.

    :param path: folders to search; ``sys.path`` where None
    :raises PluginError: two distributions offer plugins of the same name
    """
    found, doubles = survey(path)
    if doubles:
        raise doubles[0].error
    return found


def survey(path: Sequence[str] | None = None) -> tuple[tuple[Plugin, ...], tuple[Broken, ...]]:
    """Every installed plugin, sorted by name, and those whose name is another's already."""
    found: dict[str, Plugin] = {}
    doubles = []
    for metadata in _metadata_folders(sys.path if path is None else path):
        for plugin in _plugins_of(metadata):
            other = found.setdefault(plugin.name, plugin)
            if other != plugin:
                error = PluginError(
                    f"two distributions have a plugin {plugin.name}: "
                    f"{other.distribution} and {plugin.distribution}",
                    f"remove one: `pip uninstall {plugin.distribution}`",
                )
                doubles.append(Broken(plugin, error))
    return tuple(found[name] for name in sorted(found)), tuple(doubles)


def _metadata_folders(path: Sequence[str]) -> Iterator[Path]:
    """A distribution's first occurrence on the path hides later ones, as in importlib.metadata."""
    seen: set[str] = set()
    for folder in dict.fromkeys(path):
        try:
            # Not iterdir(): the standard library's folder alone would be 200 Paths.
            entries = sorted(os.listdir(folder or "."))  # noqa: PTH208
        except OSError:
            continue  # sys.path may name zip files and folders that don't exist
        for entry in entries:
            if entry.endswith(_SUFFIXES):
                distribution = _normalised(entry)
                if distribution not in seen:
                    seen.add(distribution)
                    yield Path(folder, entry)


def _normalised(entry: str) -> str:
    return entry.partition("-")[0].removesuffix(".egg-info").lower().replace(".", "_")


def _plugins_of(metadata: Path) -> Iterator[Plugin]:
    try:
        text = (metadata / "entry_points.txt").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return
    if f"[{GROUP}]" not in text:
        return
    distribution, version = _name_and_version(metadata)
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == GROUP and "=" in line and not line.startswith(("#", ";")):
            name, value = (part.strip() for part in line.split("=", 1))
            # The object and the extras that an entry point may name behind its module say nothing
            # here: hooks are the module's own functions.
            module = re.split(r"[:\s\[]", value, maxsplit=1)[0]
            yield Plugin(name, module, distribution, version)


def _name_and_version(metadata: Path) -> tuple[str, str]:
    """From the headers of METADATA (or PKG-INFO), where the name is spelt as published."""
    headers: dict[str, str] = {}
    source = metadata / ("METADATA" if metadata.suffix == ".dist-info" else "PKG-INFO")
    try:
        lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        lines = []  # half uninstalled; its folder's name still tells
    for line in lines:
        key, colon, value = line.partition(":")
        if not colon or {"Name", "Version"} <= headers.keys():
            break
        headers[key] = value.strip()
    name, _, version = metadata.stem.partition("-")
    return headers.get("Name", name), headers.get("Version", version or "?")
