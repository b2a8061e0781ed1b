"""Find installed plugins: the entry points of group ``vmnet``.

This module replaces ``importlib.metadata``, whose import takes four times as long as that of
pluggy, on every start. A test compares the results of both.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vmnet.errors import PluginError
from vmnet.model.base import frozen

GROUP = "vmnet"
_SUFFIXES = (".dist-info", ".egg-info")


@frozen
class Plugin:
    """The entry point of a plugin.

    :param name: the name that selects the plugin in the environment
    :param module: the module that implements its hooks
    """

    name: str
    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


@frozen
class Broken:
    """An installed plugin that can't be used, and so stops every start.

    :param error: the error that the start reports
    """

    plugin: Plugin
    error: PluginError


def discover(path: Sequence[str] | None = None) -> tuple[Plugin, ...]:
    """Return the installed plugins, sorted by name.

    :param path: folders to search; None means ``sys.path``
    :raises PluginError: two distributions have a plugin of the same name, or an entry point names
        no module
    """
    plugins, broken = survey(path)
    if broken:
        raise broken[0].error
    return plugins


def survey(path: Sequence[str] | None = None) -> tuple[tuple[Plugin, ...], tuple[Broken, ...]]:
    """Return the installed plugins, sorted by name, and the plugins that can't be used.

    The latter have a name that is taken, or an entry point that names no module.
    """
    by_name: dict[str, Plugin] = {}
    broken = []
    for metadata in _metadata_folders(sys.path if path is None else path):
        for plugin in _plugins_of(metadata):
            module, colon, name = plugin.module.partition(":")
            if colon:
                error = PluginError(
                    f"the entry point of plugin {plugin} names {name} in {module}, not a module",
                    f'name the module that defines the hooks: `{plugin.name} = "{module}"`',
                )
                broken.append(Broken(plugin, error))
                continue
            other = by_name.setdefault(plugin.name, plugin)
            if other != plugin:
                error = PluginError(
                    f"two distributions have a plugin {plugin.name}: "
                    f"{other.distribution} and {plugin.distribution}",
                    f"remove one: `pip uninstall {plugin.distribution}`",
                )
                broken.append(Broken(plugin, error))
    return tuple(by_name[name] for name in sorted(by_name)), tuple(broken)


def _metadata_folders(path: Sequence[str]) -> Iterator[Path]:
    """Find the metadata of each distribution where it is first on the path.

    Like importlib.metadata, ignore a distribution that an earlier folder contains as well.
    """
    seen: set[str] = set()
    for folder in dict.fromkeys(path):
        try:
            # iterdir() would make a Path of each file: 200 for the standard library's folder alone.
            entries = sorted(os.listdir(folder or "."))  # noqa: PTH208
        except OSError:
            continue  # sys.path may name zip files and missing folders
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
            # An entry point may name extras after its module. Ignore them.
            module = re.split(r"\s|\[", value, maxsplit=1)[0]
            yield Plugin(name, module, distribution, version)


def _name_and_version(metadata: Path) -> tuple[str, str]:
    """Read both from METADATA or PKG-INFO, which spells the name as published."""
    headers: dict[str, str] = {}
    source = metadata / ("METADATA" if metadata.suffix == ".dist-info" else "PKG-INFO")
    try:
        lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        lines = []  # partly uninstalled: use the name of the folder
    for line in lines:
        key, colon, value = line.partition(":")
        if not colon or {"Name", "Version"} <= headers.keys():
            break
        headers[key] = value.strip()
    name, _, version = metadata.stem.partition("-")
    return headers.get("Name", name), headers.get("Version", version or "?")
