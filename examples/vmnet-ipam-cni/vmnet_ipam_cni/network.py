"""A network configuration, as administrators write it, and as a plugin is given it.

CNI specification 1.0.0, sections 1 (format) and 3 (what the runtime makes of it).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmnet.api import SettingsError, frozen
from vmnet_ipam_cni import CAPABILITIES, CONFIG

VERSIONS = ("0.4.0", "1.0.0")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
# Up to 1.1.1, which Debian has, its CHECK acquires once more, and its daemon goes on renewing what
# it acquired first, whatever DEL says.
_NOT_TO_CHECK = frozenset(("dhcp",))


@frozen
class Network:
    """What an IPAM plugin is run with.

    :param plugin: its name, which is its program's
    :param checks: whether CHECK may be called
    :param document: what it reads
    """

    plugin: str
    checks: bool
    document: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.document["cniVersion"])


def load(path: Path, wanted: Mapping[str, Any]) -> Network:
    """The network of a file: a plugin's configuration, or a list with one that has an ipam section.

    :param wanted: capability arguments
    :raises SettingsError: it can't be read, is malformed, or is of another version
    """
    try:
        return read(path.read_text(encoding="utf-8"), wanted)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"{CONFIG.name}={path}: {reason}",
            "it names a CNI network configuration with an ipam section, as the container sees it",
        ) from None


def read(text: str, wanted: Mapping[str, Any]) -> Network:
    """:raises ValueError: with what is wrong"""
    whole = _object(text)
    plugin = _plugin(whole)
    ipam = plugin["ipam"]
    name, kind = whole.get("name"), ipam.get("type")
    if not _is_name(name):
        raise ValueError('its "name" is not one of letters, digits, ".", "-" and "_"')
    if not _is_name(kind):
        raise ValueError('the "type" of its ipam section is not the name of a plugin')
    given = {key: value for key, value in plugin.items() if key != "capabilities"}
    arguments = _capabilities(plugin, wanted)
    document = {**given, "cniVersion": _version(whole), "name": name}
    if arguments:
        document["runtimeConfig"] = arguments
    return Network(kind, not whole.get("disableCheck") and kind not in _NOT_TO_CHECK, document)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found


def _plugin(whole: dict[str, Any]) -> dict[str, Any]:
    plugins = whole.get("plugins", [whole])
    if not isinstance(plugins, list):
        raise ValueError('its "plugins" is not a list')
    for one in plugins:
        if isinstance(one, dict) and isinstance(one.get("ipam"), dict) and one["ipam"]:
            return one
    raise ValueError("it has no ipam section")


def _version(whole: dict[str, Any]) -> str:
    """The highest that both sides have; ``cniVersions`` is of lists from 1.1.0 on."""
    more = whole.get("cniVersions")
    named = (whole.get("cniVersion"), *(more if isinstance(more, list) else ()))
    known = [one for one in VERSIONS if one in named]
    if not known:
        raise ValueError(
            f'its "cniVersion" is {json.dumps(named[0])}, where {" and ".join(VERSIONS)} are spoken'
        )
    return known[-1]


def _capabilities(plugin: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    declared = plugin.get("capabilities")
    for name in wanted:
        if not isinstance(declared, dict) or declared.get(name) is not True:
            raise ValueError(f"it does not declare the capability {name!r} of {CAPABILITIES.name}")
    return dict(wanted)


def _is_name(text: object) -> bool:
    return isinstance(text, str) and _NAME.fullmatch(text) is not None
