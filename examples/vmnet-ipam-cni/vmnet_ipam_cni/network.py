"""Convert a network configuration from the administrator's format to that for the plugin.

CNI specification 1.0.0, sections 1 (format) and 3 (conversion by the runtime).
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
# Up to version 1.1.1, which Debian has, the CHECK of dhcp acquires a second lease, and its daemon
# continues to renew the first lease even after DEL.
_UNSAFE_CHECK = frozenset(("dhcp",))


@frozen
class Network:
    """The configuration for an IPAM plugin.

    :param plugin: the name of the plugin and of its program
    :param checks: whether CHECK may be called
    :param document: the plugin's input
    """

    plugin: str
    checks: bool
    document: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.document["cniVersion"])


def load(path: Path, wanted: Mapping[str, Any]) -> Network:
    """Read a network from a file: a plugin configuration, or a list with an ipam section.

    :param wanted: capability arguments
    :raises SettingsError: the file can't be read, is malformed, or has another version
    """
    try:
        return read(path.read_text(encoding="utf-8"), wanted)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"{CONFIG.name}={path}: {reason}",
            "set the path, in the container, of a CNI network configuration with an ipam section",
        ) from None


def read(text: str, wanted: Mapping[str, Any]) -> Network:
    """Parse a network configuration.

    :raises ValueError: the configuration is malformed
    """
    configuration = _object(text)
    plugin = _plugin(configuration)
    ipam = plugin["ipam"]
    name, kind = configuration.get("name"), ipam.get("type")
    if not _is_name(name):
        raise ValueError('the "name" has characters other than letters, digits, ".", "-" and "_"')
    if not _is_name(kind):
        raise ValueError('the "type" of the ipam section is not the name of a plugin')
    given = {key: value for key, value in plugin.items() if key != "capabilities"}
    arguments = _capabilities(plugin, wanted)
    document = {**given, "cniVersion": _version(configuration), "name": name}
    if arguments:
        document["runtimeConfig"] = arguments
    checks = not configuration.get("disableCheck") and kind not in _UNSAFE_CHECK
    return Network(kind, checks, document)


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


def _plugin(configuration: dict[str, Any]) -> dict[str, Any]:
    plugins = configuration.get("plugins", [configuration])
    if not isinstance(plugins, list):
        raise ValueError('"plugins" is not a list')
    for plugin in plugins:
        if isinstance(plugin, dict) and isinstance(plugin.get("ipam"), dict) and plugin["ipam"]:
            return plugin
    raise ValueError("there is no ipam section")


def _version(configuration: dict[str, Any]) -> str:
    """Return the highest common version; lists have ``cniVersions`` since CNI 1.1.0."""
    more = configuration.get("cniVersions")
    named = (configuration.get("cniVersion"), *(more if isinstance(more, list) else ()))
    common = [version for version in VERSIONS if version in named]
    if not common:
        raise ValueError(
            f'"cniVersion" is {json.dumps(named[0])}, but only {" and ".join(VERSIONS)} '
            "are supported"
        )
    return common[-1]


def _capabilities(plugin: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    declared = plugin.get("capabilities")
    for name in wanted:
        if not isinstance(declared, dict) or declared.get(name) is not True:
            raise ValueError(f"the capability {name!r} of {CAPABILITIES.name} is not declared")
    return dict(wanted)


def _is_name(text: object) -> bool:
    return isinstance(text, str) and _NAME.fullmatch(text) is not None
