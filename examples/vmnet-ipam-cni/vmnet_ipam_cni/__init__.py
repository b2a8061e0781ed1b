"""``cni``: a CNI IPAM plugin (host-local, static, dhcp …) allocates the guest's addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vmnet.api import Identity, Setting, Settings, hookimpl, optional, setting, values

_PAIR = r"[A-Za-z0-9_.-]+=[^;\s]*"


def folders(value: str) -> tuple[Path, ...]:
    """Absolute paths, a colon between them."""
    if not all(one.startswith("/") and one.isprintable() for one in value.split(":")):
        raise ValueError("a list of absolute paths with colons between them")
    return tuple(map(Path, value.split(":")))


def pairs(value: str) -> str:
    """CNI_ARGS as the specification has it: ``KEY=value`` with semicolons between."""
    if not value.isprintable() or not re.fullmatch(f"{_PAIR}(;{_PAIR})*", value, re.ASCII):
        raise ValueError("a list such as IgnoreUnknown=1;IP=10.1.0.5")
    return value


def capabilities(value: str) -> Mapping[str, Any]:
    """A JSON object; each of its keys is a capability."""
    import json

    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError('a JSON object such as {"ips": ["10.1.0.5/24"]}')
    return found


CONFIG = setting(
    "VMNET_CNI_CONFIG",
    values.absolute_path,
    "/etc/cni/net.d/vmnet.conflist",
    "the CNI network configuration whose ipam section allocates: an absolute path",
)
PATH = setting(
    "VMNET_CNI_PATH",
    folders,
    "/opt/cni/bin:/usr/lib/cni",
    "folders in which CNI plugins are looked for, colons between them",
)
INTERFACES = optional(
    "VMNET_CNI_INTERFACES",
    values.listed(values.name),
    "interfaces to allocate for, a comma-separated list; unset means all that are handed over",
)
ARGS = optional("VMNET_CNI_ARGS", pairs, "CNI_ARGS: pairs such as K=V, semicolons between")
CAPABILITIES = optional(
    "VMNET_CNI_CAPABILITIES",
    capabilities,
    "capability arguments, a JSON object; the network configuration must declare each of them",
)
NETNS = optional(
    "VMNET_CNI_NETNS",
    values.absolute_path,
    "CNI_NETNS, where a plugin's daemon sees the container's network namespace under another path",
)
TIMEOUT = setting(
    "VMNET_CNI_TIMEOUT",
    values.integer(1, 600),
    "30",
    "seconds that the CNI plugin has for each call",
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
    """Of the identity nothing is needed: what was asked for is on a record of our own."""
    from vmnet_ipam_cni import attach

    attach.release(settings)


@hookimpl
def vmnet_ipam_requirements(settings: Settings, identity: Identity) -> None:
    """None of the bridge; but `vmnet plan` and `vmnet check` learn of a mistake here."""
    from vmnet_ipam_cni import attach

    attach.prepare(settings, identity)
