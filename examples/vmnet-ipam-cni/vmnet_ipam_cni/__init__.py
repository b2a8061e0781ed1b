"""``cni``: a CNI IPAM plugin (host-local, static, dhcp …) allocates the guest's addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vmnet.api import Identity, Setting, Settings, hookimpl, optional, setting, values

_PAIR = r"[A-Za-z0-9_.-]+=[^;\s]*"


def folders(value: str) -> tuple[Path, ...]:
    """Parse absolute paths separated by colons."""
    paths = value.split(":")
    if not all(path.startswith("/") and path.isprintable() for path in paths):
        raise ValueError("a colon-separated list of absolute paths")
    return tuple(map(Path, paths))


def pairs(value: str) -> str:
    """Parse CNI_ARGS in the format of the specification: ``KEY=value`` separated by semicolons."""
    if not value.isprintable() or not re.fullmatch(f"{_PAIR}(;{_PAIR})*", value, re.ASCII):
        raise ValueError("a list such as IgnoreUnknown=1;IP=10.1.0.5")
    return value


def capabilities(value: str) -> Mapping[str, Any]:
    """Parse a JSON object whose keys are capabilities."""
    import json

    try:
        arguments = json.loads(value)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise ValueError('a JSON object such as {"ips": ["10.1.0.5/24"]}')
    return arguments


CONFIG = setting(
    "VMNET_CNI_CONFIG",
    values.absolute_path,
    "/etc/cni/net.d/vmnet.conflist",
    "path of the CNI network configuration with the ipam section",
)
PATH = setting(
    "VMNET_CNI_PATH",
    folders,
    "/opt/cni/bin:/usr/lib/cni",
    "colon-separated folders with CNI plugins",
)
INTERFACES = optional(
    "VMNET_CNI_INTERFACES",
    values.listed(values.name),
    "comma-separated interfaces to allocate for; unset: all that are handed over",
)
ARGS = optional("VMNET_CNI_ARGS", pairs, "CNI_ARGS: semicolon-separated pairs such as K=V")
CAPABILITIES = optional(
    "VMNET_CNI_CAPABILITIES",
    capabilities,
    "capability arguments, a JSON object; the network configuration must declare each capability",
)
NETNS = optional(
    "VMNET_CNI_NETNS",
    values.absolute_path,
    "CNI_NETNS, if a plugin's daemon sees the container's network namespace at another path",
)
TIMEOUT = setting(
    "VMNET_CNI_TIMEOUT",
    values.integer(1, 600),
    "30",
    "seconds for each call of the CNI plugin",
)


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return (CONFIG, PATH, INTERFACES, ARGS, CAPABILITIES, NETNS, TIMEOUT)


@hookimpl
def vmnet_ipam_allocate(settings: Settings, identity: Identity) -> Identity:
    from vmnet_ipam_cni import attach

    return attach.allocate(settings, identity)


@hookimpl
def vmnet_ipam_release(settings: Settings, identity: Identity) -> None:
    # The record in the run directory, not the identity, states what to release.
    from vmnet_ipam_cni import attach

    attach.release(settings)


@hookimpl
def vmnet_ipam_requirements(settings: Settings, identity: Identity) -> None:
    """Check settings and plugin, so that `vmnet plan` and `vmnet check` report errors in them."""
    from vmnet_ipam_cni import attach

    attach.prepare(settings, identity)
