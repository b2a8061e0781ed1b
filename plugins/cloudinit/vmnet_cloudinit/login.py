"""SSH keys and the password of the guest's default user, and the guest's agent. Pure functions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vmnet.api import SettingsError
from vmnet_cloudinit import content

_KEY = re.compile(
    r"(ssh-(ed25519|rsa|dss)|ecdsa-sha2-nistp\d+|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r" [A-Za-z0-9+/]{20,}={0,3}( [^\x00-\x1f\x7f]*)?"
)
# What cloud-init takes for a hash (cc_set_passwords): it would set anything else as it is.
_HASH = re.compile(r"\$(1|2a|2y|5|6)(\$[^\s:$]+){2,3}")
PACKAGE = "qemu-guest-agent"


def keys(variable: str, source: Path | str | None) -> tuple[str, ...]:
    """Return the keys that a variable contains, or a file that it names, one a line.

    :raises SettingsError: a line is not a public key
    """
    if source is None:
        return ()
    text = content.read_text(variable, source) if isinstance(source, Path) else source
    lines = (line.strip() for line in text.splitlines())
    found = tuple(line for line in lines if line and not line.startswith("#"))
    shown = f"{variable}={source}" if isinstance(source, Path) else variable
    if "PRIVATE KEY" in text:
        raise SettingsError(f"{shown} is a private key", "use the public key, in the file .pub")
    if not found or not all(map(_KEY.fullmatch, found)):
        raise SettingsError(
            f"{shown} is not a public SSH key a line",
            "set it to the content or the path of a .pub file, such as `ssh-ed25519 AAAA… name`",
        )
    return found


def password_hash(variable: str, value: str | None) -> str | None:
    """Return the hash of a password.

    :raises SettingsError: the value is not a hash that each cloud-init knows
    """
    if value is not None and not _HASH.fullmatch(value):
        raise SettingsError(
            f"{variable} is not the hash of a password",
            "make one by `openssl passwd -6`; in a Compose file, write $$ for each $",
        )
    return value


def config(password: str | None, *, installs_agent: bool) -> dict[str, Any]:
    """Return the cloud-config of the password and of the agent."""
    found: dict[str, Any] = {}
    if password is not None:
        found |= {"password": password, "chpasswd": {"expire": False}}
    if installs_agent:
        # Some distributions start a service when they install it, and others do not.
        start = ["sh", "-c", f"systemctl start {PACKAGE} || rc-service {PACKAGE} start"]
        found |= {"packages": [PACKAGE], "runcmd": [start]}
    return found
