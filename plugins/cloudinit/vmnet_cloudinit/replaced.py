"""Find what vmnet adds to cloud-init's configuration and the user's own user-data replaces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from vmnet_cloudinit import content, login


def not_carried(own: content.UserContent) -> Iterator[str]:
    """Yield a line for each setting that has no effect in the guest."""
    if own.user_data is None or not (own.ssh_keys or own.config):
        return
    theirs = content.cloud_config(own.user_data)
    if "users" in theirs and not _has_default(theirs["users"]):
        for variable, is_set in (
            ("VMNET_SSH_KEY", own.ssh_keys),
            ("VMNET_PASSWORD", "password" in own.config),
        ):
            if is_set:
                yield f"{variable}: the user-data has a list `users` without `default`"
    if "packages" in own.config and "packages" in theirs and not _has_agent(theirs["packages"]):
        yield f"VMNET_INSTALL_AGENT: the user-data has a list `packages` without {login.PACKAGE}"


def _has_default(users: Any) -> bool:
    """Return whether a list of users, which may be text, has the distribution's default user."""
    entries = users.split(",") if isinstance(users, str) else users
    if not isinstance(entries, list):
        return True  # a mapping, as older versions of cloud-init accept
    names = (entry.get("name") if isinstance(entry, dict) else entry for entry in entries)
    return any(isinstance(name, str) and name.strip() == "default" for name in names)


def _has_agent(packages: Any) -> bool:
    return isinstance(packages, list) and login.PACKAGE in _names(packages)


def _names(packages: list[Any]) -> Iterator[Any]:
    """Yield the names of packages: alone, in a list with a version, or by package manager."""
    managers = [entry for entry in packages if isinstance(entry, dict)]
    theirs = [each for entry in managers for each in entry.values() if isinstance(each, list)]
    for entry in chain(packages, *theirs):
        yield entry[0] if isinstance(entry, list) and entry else entry
