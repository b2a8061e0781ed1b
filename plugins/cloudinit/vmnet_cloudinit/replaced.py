"""Find what vmnet adds to cloud-init's configuration and the user's own user-data replaces.

cloud-init merges the vendor-data, which has nearly all of it, below the user-data: mappings are
combined, and any other value of the user-data wins, also a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from vmnet.api import Identity
from vmnet_cloudinit import content, login, vendordata

_TRUE = ("true", "1", "on", "yes")  # cloudinit.util.TRUE_STRINGS


def not_carried(own: content.UserContent, identity: Identity) -> Iterator[str]:
    """Yield a line for each setting that has no effect in the guest."""
    if own.user_data is None:
        return
    theirs = content.cloud_config(own.user_data)
    if "users" in theirs and not _has_default(theirs["users"]):
        for variable, is_set in (
            ("VMNET_SSH_KEY", own.ssh_keys),
            ("VMNET_PASSWORD", "password" in own.config),
        ):
            if is_set:
                yield f"{variable}: the user-data has a list `users` without `default`"
    if _disables_vendor_data(theirs):
        for lost in _in_vendor_data(own, identity):
            yield f"{lost}: the user-data disables vendor-data"
        return
    if "password" in own.config and (key := _key_of_passwords(theirs)):
        yield f"VMNET_PASSWORD: the user-data has `{key}`"
    if identity.ntp and _replaces_servers(theirs):
        yield "time servers: the user-data has its own `ntp`"
    if "packages" in own.config and "packages" in theirs and not _has_agent(theirs["packages"]):
        yield f"VMNET_INSTALL_AGENT: the user-data has a list `packages` without {login.PACKAGE}"
    if "runcmd" in own.config and login.PACKAGE not in str(theirs.get("runcmd", login.PACKAGE)):
        yield f"VMNET_INSTALL_AGENT: the user-data's `runcmd` does not start {login.PACKAGE}"


def _disables_vendor_data(theirs: Mapping[str, Any]) -> bool:
    if "vendor_data" not in theirs:
        return False
    chosen = theirs["vendor_data"]
    if not isinstance(chosen, dict):
        return True  # cloud-init warns of it, and takes it for disabled
    return str(chosen.get("enabled", True)).strip().lower() not in _TRUE


def _in_vendor_data(own: content.UserContent, identity: Identity) -> Iterator[str]:
    if any(vendordata.hosts(identity)):
        yield "names in the hosts file"
    if identity.ntp:
        yield "time servers"
    for name, is_set in (
        ("VMNET_VENDOR_DATA", own.vendor_data is not None),
        ("VMNET_SHARE", own.shared_folders),
        ("VMNET_PASSWORD", "password" in own.config),
        ("VMNET_INSTALL_AGENT", "packages" in own.config),
    ):
        if is_set:
            yield name


def _key_of_passwords(theirs: Mapping[str, Any]) -> str:
    """Return the key because of which cloud-init does not use vmnet's password; empty if none."""
    if "password" in theirs:
        return "password"
    own = theirs.get("chpasswd")
    return "chpasswd" if isinstance(own, dict) and (own.get("users") or own.get("list")) else ""


def _replaces_servers(theirs: Mapping[str, Any]) -> bool:
    own = theirs.get("ntp", {})
    return not isinstance(own, dict) or "servers" in own or own.get("enabled") is False


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
