"""The IPAM strategy ``cloudinit``: a NoCloud seed configures the guest without DHCP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vmnet.api import (
    AGENT,
    FORWARDER,
    RUN_DIR,
    SHARE,
    Cdrom,
    Delivery,
    Identity,
    Requirements,
    Setting,
    Settings,
    Wiring,
    hookimpl,
    optional,
    setting,
    values,
)


def path_or_content(value: str) -> Path | str:
    """Return a path if the value starts with ``/``, otherwise the content itself.

    This is unambiguous: no content that cloud-init understands starts with a slash.
    """
    return Path(value) if value.startswith("/") else value


USER_DATA = optional(
    "VMNET_USER_DATA",
    path_or_content,
    "cloud-init's user-data: an absolute path, or the content itself (#cloud-config, #!/bin/sh …)",
    secret=True,
)
VENDOR_DATA = optional(
    "VMNET_VENDOR_DATA",
    path_or_content,
    "cloud-init's vendor-data, added to vmnet's own: an absolute path, or the content itself",
    secret=True,
)

SSH_KEY = optional(
    "VMNET_SSH_KEY",
    path_or_content,
    "public SSH keys of the guest's default user: an absolute path, or the keys, one a line",
)
PASSWORD = optional(
    "VMNET_PASSWORD",
    values.text,
    "hash of the password of the guest's default user, as from `openssl passwd -6`",
    secret=True,
)
INSTALL_AGENT = setting(
    "VMNET_INSTALL_AGENT",
    values.boolean,
    "off",
    "install qemu-guest-agent at the guest's first boot, from its distribution by the network",
    needs=AGENT,
)


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return (USER_DATA, VENDOR_DATA, SSH_KEY, PASSWORD, INSTALL_AGENT)


@hookimpl
def vmnet_ipam_requirements(settings: Settings, identity: Identity) -> Requirements:
    """Contain no DHCP; require a forwarder only for a resolver on loopback, not for links."""
    # dnsmasq's responder takes an address for the forwarder, wherever dnsmasq forwards.
    claims = settings[FORWARDER] == "dnsmasq"
    return Requirements(contain=False, dns=identity.resolver.is_local, claims=claims)


@hookimpl
def vmnet_ipam_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    from vmnet_cloudinit import content, login, seed

    password = login.password_hash(settings.origin(PASSWORD), settings[PASSWORD])
    folders = settings[SHARE]
    own = content.UserContent(
        user_data=content.load(settings.origin(USER_DATA), settings[USER_DATA]),
        vendor_data=content.load(settings.origin(VENDOR_DATA), settings[VENDOR_DATA]),
        ssh_keys=login.keys(settings.origin(SSH_KEY), settings[SSH_KEY]),
        config=login.config(password, installs_agent=settings[INSTALL_AGENT]),
        shared_folders=folders or (),
    )
    return seed.deliver(_seed(settings), identity, wiring, own)


@hookimpl
def vmnet_devices(settings: Settings, identity: Identity, wiring: Wiring) -> tuple[Cdrom, ...]:
    return (Cdrom(_seed(settings)),)


def _seed(settings: Settings) -> Path:
    return settings[RUN_DIR] / "seed.iso"
